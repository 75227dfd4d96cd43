package org.mobilekd.demo.ui

import android.content.res.Resources
import org.mobilekd.demo.R
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.Flaw
import org.mobilekd.demo.answer.Times
import org.mobilekd.demo.model.Unfit
import java.text.NumberFormat

/** Everything the app says, in the user's language and numerals. */
class Sentences(private val resources: Resources) {
    fun problem(problem: Problem): String = resources.getString(
        when (problem) {
            Problem.NOT_A_PHOTOGRAPH -> R.string.problem_not_a_photograph
            Problem.UNREACHABLE -> R.string.problem_unreachable
            Problem.TOO_LITTLE_MEMORY -> R.string.problem_too_little_memory
            Problem.NO_SPACE -> R.string.problem_no_space
            Problem.NO_CAMERA -> R.string.problem_no_camera
            Problem.NO_PICKER -> R.string.problem_no_picker
            Problem.NONSENSE -> R.string.problem_nonsense
            Problem.RUNTIME -> R.string.problem_runtime
        },
    )

    fun unfit(reason: Unfit): String = when (reason) {
        is Unfit.Unreadable -> resources.getString(R.string.unfit_unreadable, reason.detail)
        is Unfit.Foreign -> resources.getString(R.string.unfit_foreign, reason.missing)
        is Unfit.Version -> resources.getString(R.string.unfit_version, reason.found, reason.known)
        is Unfit.UnknownPreprocess -> resources.getString(R.string.unfit_preprocess, reason.wanted)
        is Unfit.Inconsistent -> resources.getString(R.string.unfit_facts, reason.detail)
        is Unfit.WrongShape -> resources.getString(R.string.unfit_shape, reason.detail)
        is Unfit.Processor -> resources.getString(R.string.unfit_processor, reason.feature)
        Unfit.Missing -> resources.getString(R.string.unfit_missing)
        Unfit.NotCopied -> resources.getString(R.string.unfit_copy)
    }

    fun flaws(flaws: Set<Flaw>): String = flaws.sorted().joinToString("\n") { flaw ->
        resources.getString(
            when (flaw) {
                Flaw.BLURRED -> R.string.blurred
                Flaw.DARK -> R.string.dark
                Flaw.BRIGHT -> R.string.bright
            },
        )
    }

    fun percent(share: Float): String = NumberFormat.getPercentInstance().apply { maximumFractionDigits = 1 }.format(share)

    fun underHeadline(answer: Answer, threshold: Double): String = if (answer.sure) {
        resources.getString(R.string.probability, percent(answer.best.probability))
    } else {
        resources.getString(R.string.not_sure_text, percent(threshold.toFloat()), answer.best.label, percent(answer.best.probability))
    }

    fun announcement(answer: Answer): String = if (answer.sure) {
        resources.getString(R.string.announce_answer, answer.best.label, percent(answer.best.probability))
    } else {
        resources.getString(R.string.announce_not_sure)
    }

    fun times(times: Times): String = times.run {
        val all = decode + resize + execute + answer
        resources.getString(R.string.times, milliseconds(all), milliseconds(decode), milliseconds(resize), milliseconds(execute))
    }

    fun milliseconds(nanoseconds: Number): String {
        val value = nanoseconds.toDouble() / 1e6
        val format = NumberFormat.getNumberInstance().apply { maximumFractionDigits = if (value < 1) 3 else if (value < 10) 1 else 0 }
        return resources.getString(R.string.milliseconds, format.format(value))
    }
}

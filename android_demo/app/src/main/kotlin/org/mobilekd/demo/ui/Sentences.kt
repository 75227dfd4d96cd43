package org.mobilekd.demo.ui

import android.content.Context
import android.content.res.Resources
import java.text.NumberFormat
import org.mobilekd.demo.R
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.Flaw
import org.mobilekd.demo.answer.Times
import org.mobilekd.demo.model.Unfit

/** Everything the app says; [words] have the numerals of the language that the sentences are in. */
class Sentences(context: Context) {
    val words: Resources = context.words()
    private val locale = words.configuration.locales[0]

    fun problem(problem: Problem): String =
        words.getString(
            when (problem) {
                Problem.NOT_A_PHOTOGRAPH -> R.string.problem_not_a_photograph
                Problem.UNREACHABLE -> R.string.problem_unreachable
                Problem.TOO_LITTLE_MEMORY -> R.string.problem_too_little_memory
                Problem.NO_SPACE -> R.string.problem_no_space
                Problem.NO_CAMERA -> R.string.problem_no_camera
                Problem.NO_PICKER -> R.string.problem_no_picker
                Problem.NONSENSE -> R.string.problem_nonsense
                Problem.RUNTIME -> R.string.problem_runtime
            }
        )

    fun refused(screen: Screen.Refused): String =
        listOfNotNull(unfit(screen.reason), screen.problem?.let(::problem)).joinToString("\n\n")

    fun unfit(reason: Unfit): String =
        when (reason) {
            is Unfit.Unreadable -> words.getString(R.string.unfit_unreadable, reason.detail)
            is Unfit.Foreign -> words.getString(R.string.unfit_foreign, reason.missing)
            is Unfit.Version -> words.getString(R.string.unfit_version, reason.found, reason.known)
            is Unfit.UnknownPreprocess -> words.getString(R.string.unfit_preprocess, reason.wanted)
            is Unfit.Inconsistent -> words.getString(R.string.unfit_facts, reason.detail)
            is Unfit.WrongShape -> words.getString(R.string.unfit_shape, reason.detail)
            is Unfit.Processor -> words.getString(R.string.unfit_processor, reason.feature)
            Unfit.Missing -> words.getString(R.string.unfit_missing)
            Unfit.NotCopied -> words.getString(R.string.unfit_copy)
        }

    fun flaws(flaws: Set<Flaw>): String =
        flaws.sorted().joinToString("\n") { flaw ->
            words.getString(
                when (flaw) {
                    Flaw.BLURRED -> R.string.blurred
                    Flaw.DARK -> R.string.dark
                    Flaw.BRIGHT -> R.string.bright
                }
            )
        }

    /** A class at the head of a line; its name in the model is that of the middle of a sentence. */
    fun heading(label: String): String = label.replaceFirstChar { it.titlecase(locale) }

    fun percent(share: Float): String =
        NumberFormat.getPercentInstance(locale).apply { maximumFractionDigits = 1 }.format(share)

    fun headline(answer: Answer): String =
        when {
            answer.outside -> words.getString(R.string.outside)
            answer.set != null -> heading(set(answer.set, answer.ranked.size))
            answer.sure -> heading(answer.best.label)
            else -> words.getString(R.string.not_sure)
        }

    /** Classes that cannot be excluded, as the middle of a sentence; all and none have theirs. */
    fun set(set: List<String>, classes: Int): String =
        when (set.size) {
            0 -> words.getString(R.string.set_none)
            classes -> words.getString(R.string.set_all)
            1 -> set.single()
            else ->
                words.getString(
                    R.string.set_or,
                    set.dropLast(1).reduce { all, one ->
                        words.getString(R.string.set_comma, all, one)
                    },
                    set.last(),
                )
        }

    /** What a person hears of the headline: whether its classes are all that is left. */
    fun overHeadline(answer: Answer): String? =
        when {
            answer.outside -> null
            answer.set == null ->
                words.getString(R.string.best_guess).takeIf { answer.sure }
            excludesSome(answer.set, answer) -> words.getString(R.string.not_excluded)
            else -> null
        }

    /** Whether [set] is neither none nor all of the classes, which have sentences of their own. */
    private fun excludesSome(set: List<String>, answer: Answer): Boolean =
        set.isNotEmpty() && set.size < answer.ranked.size

    private fun underSet(set: List<String>, answer: Answer): String {
        val best = answer.bestOfSet ?: answer.best
        val percent = percent(best.probability)
        return when (set.size) {
            0 -> words.getString(R.string.set_none_text, best.label, percent)
            answer.ranked.size -> words.getString(R.string.set_all_text, best.label, percent)
            1 -> words.getString(R.string.set_one_text, percent)
            else -> words.getString(R.string.set_more_text, best.label, percent)
        }
    }

    fun underHeadline(answer: Answer, threshold: Double): String =
        if (answer.outside) {
            words.getString(R.string.outside_text)
        } else if (answer.set != null) {
            underSet(answer.set, answer)
        } else if (answer.sure) {
            words.getString(R.string.probability, percent(answer.best.probability))
        } else {
            words.getString(
                R.string.not_sure_text,
                percent(threshold.toFloat()),
                answer.best.label,
                percent(answer.best.probability),
            )
        }

    fun announcement(answer: Answer): String =
        if (answer.outside) {
            words.getString(R.string.announce_outside)
        } else if (answer.set != null) {
            words.getString(
                if (excludesSome(answer.set, answer)) R.string.announce_not_excluded
                else R.string.announce_set,
                set(answer.set, answer.ranked.size),
            )
        } else if (answer.sure) {
            words.getString(
                R.string.announce_answer,
                answer.best.label,
                percent(answer.best.probability),
            )
        } else {
            words.getString(R.string.announce_not_sure)
        }

    fun times(times: Times): String =
        times.run {
            val all = decode + resize + execute + answer
            words.getString(
                R.string.times,
                milliseconds(all),
                milliseconds(decode),
                milliseconds(resize),
                milliseconds(execute),
            )
        }

    /** With its zeros, so that a column of them reads as one. */
    fun milliseconds(nanoseconds: Number): String {
        val value = nanoseconds.toDouble() / 1e6
        val digits = if (value < 1) 3 else if (value < 10) 1 else 0
        return words.getString(R.string.milliseconds, number(value, digits, digits))
    }

    fun number(value: Double, most: Int = 3, least: Int = 0): String =
        NumberFormat.getNumberInstance(locale).run {
            maximumFractionDigits = most
            minimumFractionDigits = least
            format(value)
        }

    /** A difference between answers, to two digits. */
    fun difference(value: Double): String = "%.2g".format(locale, value)
}

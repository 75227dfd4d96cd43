package org.mobilekd.demo.ui

import android.content.Context
import android.content.res.Resources
import java.text.NumberFormat
import org.mobilekd.demo.R
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.Flaw
import org.mobilekd.demo.answer.Ranked
import org.mobilekd.demo.answer.Times
import org.mobilekd.demo.model.Carried
import org.mobilekd.demo.model.Pick
import org.mobilekd.demo.model.Spec
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
            is Unfit.OtherChip ->
                if (reason.found.isEmpty()) words.getString(R.string.unfit_no_chip, reason.wanted)
                else words.getString(R.string.unfit_chip, reason.wanted, reason.found)
            is Unfit.NoDelegate -> words.getString(R.string.unfit_delegate, reason.detail)
            Unfit.EndedTheApp -> words.getString(R.string.unfit_ended)
            is Unfit.WrongAnswers ->
                words.getString(
                    R.string.unfit_answers,
                    difference(reason.difference),
                    difference(reason.limit),
                )
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

    /** What stands above the headline: whether its classes are all that is left. */
    fun overHeadline(answer: Answer): String? =
        when {
            answer.outside -> null
            excludesSome(answer) -> words.getString(R.string.not_excluded)
            answer.set != null -> words.getString(R.string.set_answer)
            else -> words.getString(R.string.best_guess).takeIf { answer.sure }
        }

    /** Whether there is a set, neither none nor all of the classes, which have their sentences. */
    fun excludesSome(answer: Answer): Boolean =
        answer.set != null && answer.set.isNotEmpty() && answer.set.size < answer.ranked.size

    /** What stands below a set; [coverage] is the share of a class that sets were to hold. */
    private fun underSet(set: List<String>, answer: Answer, coverage: Float?): String {
        val best = answer.bestOfSet ?: answer.best
        fun likeliest(id: Int) = words.getString(id, best.label, percent(best.probability))
        val said =
            when (set.size) {
                0 ->
                    listOf(
                        coverage?.let { words.getString(R.string.set_none_text, percent(it)) },
                        likeliest(R.string.set_likeliest),
                    )
                answer.ranked.size ->
                    listOf(
                        words.getString(R.string.set_all_text),
                        likeliest(R.string.set_likeliest),
                    )
                else ->
                    listOf(
                        likeliest(
                            if (set.size == 1) R.string.set_one_text else R.string.set_more_text
                        ),
                        words.getString(R.string.set_others),
                        coverage?.let { excludedThough(set, answer.best, it) },
                        coverage?.let { words.getString(R.string.set_wrong, percent(1 - it)) },
                    )
            }
        return said.filterNotNull().joinToString(" ")
    }

    /** Why the likeliest class is excluded, where it is. */
    private fun excludedThough(set: List<String>, best: Ranked, coverage: Float): String? =
        if (best.label in set) null
        else
            words.getString(
                R.string.set_even,
                heading(best.label),
                percent(best.probability),
                percent(coverage),
            )

    fun underHeadline(answer: Answer, spec: Spec): String =
        if (answer.outside) {
            words.getString(R.string.outside_text)
        } else if (answer.set != null) {
            underSet(answer.set, answer, spec.setCoverage?.toFloat())
        } else if (answer.sure) {
            words.getString(R.string.probability, percent(answer.best.probability))
        } else {
            words.getString(
                R.string.not_sure_text,
                percent(spec.threshold.toFloat()),
                answer.best.label,
                percent(answer.best.probability),
            )
        }

    /** What a screen reader says of one class, with what its place in the list says to the eye. */
    fun row(ranked: Ranked, answer: Answer): String =
        words.getString(
            when {
                !excludesSome(answer) -> R.string.class_row
                ranked.label in answer.set.orEmpty() -> R.string.class_row_in
                else -> R.string.class_row_out
            },
            ranked.label,
            percent(ranked.probability),
        )

    fun announcement(answer: Answer): String =
        if (answer.outside) {
            words.getString(R.string.announce_outside)
        } else if (answer.set != null) {
            words.getString(
                if (excludesSome(answer)) R.string.announce_not_excluded
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

    /** The processor that a file of the app is for, and the file's precision. */
    fun file(file: Carried): String = file(file.backend, file.precision, file.soc)

    /** The same for what a file says of itself. */
    fun file(spec: Spec): String = file(spec.backend, spec.precision, spec.soc)

    private fun file(backend: String, precision: String, soc: String?): String =
        if (soc != null) words.getString(R.string.file_neural, soc, precision)
        else words.getString(R.string.file_cpu, NAMES[backend] ?: backend, precision)

    /** Which processor answered, and why none of those before it. */
    fun answeredBy(pick: Pick): String = by(R.string.answered_by, pick)

    /** The same before anything is answered. */
    fun answers(pick: Pick): String = by(R.string.answers_by, pick)

    private fun by(sentence: Int, pick: Pick): String {
        val passed =
            pick.passed.map { (file, reason) ->
                words.getString(R.string.file_passed, file(file), unfit(reason))
            }
        return (listOf(words.getString(sentence, file(pick.file))) + passed).joinToString("\n")
    }

    /** A difference between answers, to two digits. */
    fun difference(value: Double): String = "%.2g".format(locale, value)

    private companion object {
        /** How the makers of these libraries write their names. */
        val NAMES = mapOf("xnnpack" to "XNNPACK")
    }
}

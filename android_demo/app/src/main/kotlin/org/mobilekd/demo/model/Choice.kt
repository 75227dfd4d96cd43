package org.mobilekd.demo.model

import java.io.File
import java.io.IOException
import org.mobilekd.demo.answer.Json

/**
 * One model file inside the APK.
 *
 * @property folder where it lies among the assets, with its manifest and golden set
 * @property soc the one chip that it is compiled for, as `ro.soc.model` names it; null for a file
 *   that runs on any phone
 */
data class Carried(
    val folder: String,
    val backend: String = "",
    val precision: String = "",
    val soc: String? = null,
) {
    companion object {
        /** The only file of an APK that does not list its files. */
        val ONLY = Carried("artifact")

        /** The files that `files.json` lists, in the order in which the build was given them. */
        fun read(json: String): List<Carried> =
            (Json.read(json) as List<*>).map { item ->
                val facts = item as Map<*, *>
                Carried(
                    facts["folder"].toString(),
                    facts["backend"].toString(),
                    facts["precision"].toString(),
                    facts["soc"]?.toString(),
                )
            }
    }
}

/** What a phone tells of its chip; both are empty where it does not tell. */
data class Chip(val maker: String, val model: String) {
    /** Maker and model in words; empty where the phone does not tell its model. */
    val words: String
        get() = if (model.isEmpty()) "" else "$maker $model".trim()

    /** Whether a file compiled for [soc] is for this chip; a chip that is not told is none. */
    fun fits(soc: String): Boolean = model.equals(soc, ignoreCase = true)

    companion object {
        private val MODEL = listOf("ro.soc.model", "ro.vendor.qti.soc_model")
        private const val MAKER = "ro.soc.manufacturer"
        private const val NOT_TOLD = "unknown" // Build.UNKNOWN

        /**
         * @param told maker and model as Android itself tells them, from API 31 on
         * @param property a system property, asked where Android does not tell; empty where the
         *   phone has none of that name
         */
        fun of(told: Pair<String, String>?, property: (String) -> String): Chip {
            fun known(text: String?): String {
                val trimmed = text.orEmpty().trim()
                return if (trimmed.equals(NOT_TOLD, ignoreCase = true)) "" else trimmed
            }
            fun asked(names: List<String>) =
                names.firstNotNullOfOrNull { name -> known(property(name)).ifEmpty { null } }
            val model = known(told?.second).ifEmpty { asked(MODEL).orEmpty() }
            val maker = known(told?.first).ifEmpty { asked(listOf(MAKER)).orEmpty() }
            return Chip(maker, model)
        }
    }
}

/**
 * Which of several files answers.
 *
 * @property passed the files that came first but cannot be used here, each with its reason
 */
data class Pick(val file: Carried, val passed: Map<Carried, Unfit>)

/** Files for a chip come first, then those for any phone, each in the order of the build. */
fun preferred(files: List<Carried>): List<Carried> =
    files.filter { it.soc != null } + files.filter { it.soc == null }

/** Why [file] is not even tried on a phone with this [chip]; null where it may be. */
fun unfit(file: Carried, chip: Chip): Unfit? =
    file.soc?.takeUnless(chip::fits)?.let { Unfit.OtherChip(it, chip.words) }

/**
 * Load the first of [files] that this phone can use; one for another chip is not touched. Throws
 * the [UnfitModel] of the first file for any phone where none can be used.
 *
 * @param load loads one file; [UnfitModel] says why not
 */
fun <T> choose(
    files: List<Carried>,
    chip: Chip,
    trials: Trials,
    load: (Carried) -> T,
): Pair<T, Pick> {
    val passed = LinkedHashMap<Carried, Unfit>()
    var refusal: UnfitModel? = null
    for (file in preferred(files)) {
        try {
            return attempt(file, chip, trials, load) to Pick(file, passed)
        } catch (error: UnfitModel) {
            // what the runtime needs of the processor, it needs for every file
            if (error.reason is Unfit.Processor) throw error
            passed[file] = error.reason
            if (file.soc == null && refusal == null) refusal = error
        }
    }
    throw refusal ?: UnfitModel(passed.values.firstOrNull() ?: Unfit.Missing)
}

/** Load one file if this phone may; [UnfitModel] where it may not or cannot. */
fun <T> attempt(file: Carried, chip: Chip, trials: Trials, load: (Carried) -> T): T {
    unfit(file, chip)?.let { throw UnfitModel(it) }
    // what runs on the CPU alone has always ended with a word
    if (file.soc == null) return load(file)
    if (trials.ended(file)) throw UnfitModel(Unfit.EndedTheApp)
    return trials.during(file) { load(file) }
}

/**
 * Remembers in [folder] which files were being loaded when the app ended: a maker's library may
 * end it without a word, and the app would do so at every start. Somebody may also have ended it
 * at that moment, so once is not enough.
 */
class Trials(private val folder: File) {
    /** Whether the app ended again and again while [file] was loaded. */
    fun ended(file: Carried): Boolean = count(file) >= ENOUGH

    /** Do [action], which loads [file], and remember it only if the app does not outlive it. */
    fun <T> during(file: Carried, action: () -> T): T {
        val before = count(file)
        try {
            mark(file).writeText("${before + 1}")
        } catch (_: IOException) { // a full phone; the file is tried all the same
        }
        try {
            return action()
        } finally {
            mark(file).delete()
        }
    }

    private fun mark(file: Carried) = File(folder, "trying-${file.folder}")

    private fun count(file: Carried): Int =
        mark(file).takeIf(File::exists)?.readText()?.trim()?.toIntOrNull() ?: 0

    private companion object {
        const val ENOUGH = 2
    }
}

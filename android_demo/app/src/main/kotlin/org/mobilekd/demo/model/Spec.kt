package org.mobilekd.demo.model

import org.mobilekd.demo.answer.QualityLimits
import org.mobilekd.demo.answer.Rescale
import org.mobilekd.demo.answer.sound
import org.mobilekd.demo.tensor.Preprocess

/** Why a model cannot be used; each is one sentence in `strings.xml`. */
sealed interface Unfit {
    /** Not loadable at all; [detail] is the runtime's word. */
    data class Unreadable(val detail: String) : Unfit

    /** ExecuTorch loads it, but mobilekd did not make it: the constant [missing] is not there. */
    data class Foreign(val missing: String) : Unfit

    /** Made for another version of the app. */
    data class Version(val found: Long, val known: Long) : Unfit

    /** A crop, resize or colour order that this app does not know. */
    data class UnknownPreprocess(val wanted: String) : Unfit

    /** What the file says about itself contradicts itself. */
    data class Inconsistent(val detail: String) : Unfit

    /** It does not take or give what it says. */
    data class WrongShape(val detail: String) : Unfit

    /** The runtime would crash on this processor, which lacks the [feature]. */
    data class Processor(val feature: String) : Unfit

    /** Compiled for the chip [wanted] alone; this phone has [found], empty where not told. */
    data class OtherChip(val wanted: String, val found: String) : Unfit

    /** Compiled for this chip, but the runtime cannot run it; [detail] is the runtime's word. */
    data class NoDelegate(val detail: String) : Unfit

    /** The app ended more than once while it loaded the file. */
    data object EndedTheApp : Unfit

    /** The phone's answers to the golden set lie further from the exporter's than they may. */
    data class WrongAnswers(val difference: Double, val limit: Double) : Unfit

    /** There is no built-in model. */
    data object Missing : Unfit

    /** The file could not be copied into the app. */
    data object NotCopied : Unfit
}

/** Thrown with the [reason] why a model is refused. */
class UnfitModel(val reason: Unfit, cause: Throwable? = null) : Exception(reason.toString(), cause)

/**
 * All that the app knows about a model, read from the constant methods inside the `.pte`
 * (mobilekd/formats/constants.py).
 */
data class Spec(
    val name: String,
    val backend: String,
    val precision: String,
    val labels: List<String>,
    val preprocess: Preprocess,
    val temperature: Double,
    val threshold: Double,
    val quality: QualityLimits,
    val decision: String,
    val outputs: List<String>,
    val card: String,
    val student: String,
    val versions: List<String>,
    /** Above this the guard's score says: outside; null for a model without a guard. */
    val guardThreshold: Double? = null,
    /** A class whose probability is at least its own cannot be excluded; null without sets. */
    val setThresholds: List<Double>? = null,
    /** Share of each class whose set was to hold it. */
    val setCoverage: Double? = null,
    /** What the file's probabilities have to go through; null where they are final. */
    val rescale: Rescale? = null,
    /** The one chip that the file is compiled for; null for a file that runs on any phone. */
    val soc: String? = null,
) {
    /** What the file gives -> the probabilities that are meant; [Nonsense] for what are none. */
    fun probabilities(given: FloatArray): List<Double> {
        sound(labels, given)
        return rescale?.apply(given) ?: given.map { it.toDouble() }
    }

    /** That of the probabilities that are meant; [temperature] is inside the file. */
    val finalTemperature: Double
        get() = temperature / (rescale?.power ?: 1.0)

    /** The place of a named output among those that `forward` gives; null where it gives none. */
    fun place(output: String): Int? = outputs.indexOf(output).takeIf { it >= 0 }

    companion object {
        /** The latest version of the constants that this app reads, and the first. */
        const val VERSION = 2L
        private const val FIRST = 1L
        const val MAP = "cam"
        const val OUTSIDE = "outside"
        private const val LARGEST_SIDE = 2048

        /** Read through [engine]; throws [UnfitModel] with the first reason against the file. */
        fun read(engine: Engine): Spec {
            fun all(name: String): List<Any> {
                if (name !in engine.methods) throw UnfitModel(Unfit.Foreign(name))
                return engine.constant(name)
            }
            fun wrong(name: String): Nothing =
                throw UnfitModel(Unfit.Inconsistent("$name is of another kind"))
            fun texts(name: String) = all(name).map { it as? String ?: wrong(name) }
            fun text(name: String) = texts(name).singleOrNull() ?: wrong(name)
            fun whole(name: String) = all(name).singleOrNull() as? Long ?: wrong(name)
            fun real(name: String) = all(name).singleOrNull() as? Double ?: wrong(name)
            fun known(name: String, value: String) {
                if (text(name) != value)
                    throw UnfitModel(Unfit.UnknownPreprocess("$name ${text(name)}"))
            }
            fun side(name: String) =
                whole(name).also { if (it !in 1..LARGEST_SIDE) wrong(name) }.toInt()

            if ("forward" !in engine.methods) throw UnfitModel(Unfit.Foreign("forward"))
            val version = whole("schema_version")
            if (version !in FIRST..VERSION) throw UnfitModel(Unfit.Version(version, VERSION))
            known("color", Preprocess.COLOR)
            known("crop", Preprocess.CROP)
            known("resize", Preprocess.RESIZE)
            val labels = texts("label_texts")
            val threshold = real("threshold")
            if (labels.size < 2) throw UnfitModel(Unfit.Inconsistent("${labels.size} classes"))
            if (threshold !in 0.0..1.0) throw UnfitModel(Unfit.Inconsistent("threshold $threshold"))
            val limits = all("quality").map { it as? Double ?: wrong("quality") }
            if (limits.size != 3) wrong("quality")
            val outputs = texts("outputs")
            val guard = if (OUTSIDE in outputs) real("guard_threshold") else null
            if (guard != null && guard !in 0.0..1.0)
                throw UnfitModel(Unfit.Inconsistent("guard_threshold $guard"))
            fun reals(name: String, size: Int) =
                all(name)
                    .map { it as? Double ?: wrong(name) }
                    .also { if (it.size != size || it.any { one -> !one.isFinite() }) wrong(name) }
            val sets = "set_thresholds" in engine.methods
            // a file of this version gives probabilities that are not final
            val rescale = if (version > FIRST) reals("rescale", labels.size + 1) else null
            if (rescale != null && rescale.first() <= 0) wrong("rescale")
            return Spec(
                name = text("name"),
                backend = text("backend"),
                precision = text("precision"),
                labels = labels,
                preprocess = Preprocess(side("input_width"), side("input_height")),
                temperature = real("temperature"),
                threshold = threshold,
                quality = QualityLimits(limits[0], limits[1], limits[2]),
                decision = text("decision"),
                outputs = outputs,
                card = text("card"),
                student = text("student"),
                versions = texts("versions"),
                guardThreshold = guard,
                setThresholds = if (sets) reals("set_thresholds", labels.size) else null,
                setCoverage = if (sets) real("set_coverage") else null,
                rescale = rescale?.let { Rescale(it.first(), it.drop(1)) },
                soc = if ("soc" in engine.methods) text("soc") else null,
            )
        }
    }
}

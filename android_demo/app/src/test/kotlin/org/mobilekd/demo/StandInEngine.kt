package org.mobilekd.demo

import org.mobilekd.demo.model.Engine
import org.mobilekd.demo.model.Output

/**
 * An engine that answers what it is told, for screens and for what no exporter writes; the real one
 * has its own tests.
 */
class StandInEngine(
    private val constants: Map<String, List<Any>> = CONSTANTS,
    private val attention: Boolean = true,
    private val guard: Float? = null,
    private val answer: (FloatArray) -> FloatArray = { PROBABILITIES },
) : Engine {
    var closed = false
        private set

    override val methods: Set<String> = constants.keys + "forward"

    override fun constant(name: String): List<Any> = constants.getValue(name)

    override fun prepare() = Unit

    override fun forward(input: FloatArray, shape: LongArray): List<Output> {
        val probabilities = answer(input)
        val map =
            Output(
                listOf(1, 4, 4),
                FloatArray(16) {
                    if (it in setOf(5, 6, 9, 10)) 1f else if (it in setOf(1, 4, 2, 7)) 0.4f else 0f
                },
            )
        return listOfNotNull(
            Output(listOf(1, probabilities.size), probabilities),
            map.takeIf { attention },
            guard?.let { Output(listOf(1, 1), floatArrayOf(it)) },
        )
    }

    override fun close() {
        closed = true
    }

    companion object {
        val LABELS =
            listOf(
                "actinic keratosis",
                "basal cell carcinoma",
                "benign keratosis",
                "dermatofibroma",
                "melanoma",
                "melanocytic nevus",
                "vascular lesion",
            )
        val PROBABILITIES = floatArrayOf(0.012f, 0.021f, 0.094f, 0.008f, 0.148f, 0.708f, 0.009f)
        val UNSURE = floatArrayOf(0.05f, 0.11f, 0.23f, 0.04f, 0.26f, 0.28f, 0.03f)

        val CONSTANTS: Map<String, List<Any>> =
            mapOf(
                "schema_version" to listOf(1L),
                "name" to listOf("ham10000-035"),
                "backend" to listOf("xnnpack"),
                "precision" to listOf("int8"),
                "labels" to listOf("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
                "label_texts" to LABELS,
                "input_height" to listOf(128L),
                "input_width" to listOf(160L),
                "color" to listOf("RGB"),
                "crop" to listOf("center"),
                "resize" to listOf("pillow-bilinear"),
                "temperature" to listOf(1.18),
                "threshold" to listOf(0.41),
                "quality" to listOf(3.0, 70.0, 235.0),
                "decision" to listOf("The likeliest class"),
                "outputs" to listOf("probabilities", "cam"),
                "card" to
                    listOf(
                        "A student for seven kinds of pigmented skin lesions.\n" +
                            "Trained on dermoscopy photographs, split by lesion."
                    ),
                "student" to
                    listOf("4f1c0de2aa7703bb4f1c0de2aa7703bb4f1c0de2aa7703bb4f1c0de2aa7703bb"),
                "versions" to listOf("mobilekd=0.1.0", "executorch=1.5.1", "torch=2.15.0"),
            )

        /** Those of a model that was fitted to a clinic, with sets. */
        val FITTED: Map<String, List<Any>> =
            CONSTANTS +
                mapOf(
                    "schema_version" to listOf(2L),
                    "set_coverage" to listOf(0.9),
                    "set_thresholds" to List(7) { 0.2 },
                    "rescale" to listOf(0.5) + List(7) { if (it == 4) 1.0 else 0.0 },
                )

        /** Those of a model whose sets exclude a class that is fairly likely, the nevus. */
        val STRICT: Map<String, List<Any>> =
            CONSTANTS +
                mapOf(
                    "set_coverage" to listOf(0.9),
                    "set_thresholds" to listOf(0.9, 0.9, 0.3, 0.9, 0.1, 0.75, 0.9),
                )

        /** Those of a model whose sets exclude what is less probable than [least]. */
        fun sets(least: Double): Map<String, List<Any>> =
            CONSTANTS +
                mapOf("set_coverage" to listOf(0.9), "set_thresholds" to List(7) { least })

        /** Those of a model with a guard. */
        val GUARDED: Map<String, List<Any>> =
            CONSTANTS +
                mapOf(
                    "outputs" to listOf("probabilities", "cam", "outside"),
                    "guard_threshold" to listOf(0.7),
                )
    }
}

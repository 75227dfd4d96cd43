package org.mobilekd.demo.bench

import java.io.File
import java.util.Base64
import java.util.UUID
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.model.Spec

/** The exporter's golden set, copied out of the APK. */
class GoldenSet(val inputs: File, val expected: ByteArray, val limit: Double)

/** One row of the benchmark screen. */
data class Row(val threads: Int, val median: Double, val p90: Double, val first: Long)

/**
 * What the benchmark screen shows and saves; [golden] is null for an opened model, which has no
 * golden set; [phone] is maker and model.
 */
class Report(
    val golden: GoldenCheck?,
    val rows: List<Row>,
    val phone: String,
    val document: Map<String, Any?>,
) {
    fun json(): String = Json.write(document)
}

/**
 * The benchmark that a person starts: golden set first, then every number of threads. [measure]
 * runs one request in this process, [phone] tells the device and its state, [stage] hears how far
 * it is (0: golden set, else threads).
 */
class ScreenBenchmark(
    private val spec: Spec,
    private val goldenSet: GoldenSet?,
    private val threads: List<Int>,
    private val measure: (Request) -> Map<String, Any?>,
    private val device: Map<String, Any?>,
    private val conditions: () -> Map<String, Any?>,
    private val versions: Map<String, String>,
    private val stage: (Int) -> Unit,
) {
    fun run(): Report {
        val started = Phone.utcNow()
        val before = conditions()
        stage(0)
        val check =
            goldenSet?.let { set ->
                val answer = measure(Request(Mode.GOLDEN, inputs = set.inputs))["answers"] as String
                golden(
                    Base64.getDecoder().decode(answer),
                    set.expected,
                    spec.labels.size,
                    set.limit,
                )
            }
        val results =
            if (check?.passed == false) {
                emptyList()
            } else {
                threads.map { count ->
                    stage(count)
                    measure(
                        Request(
                            Mode.MEASURE,
                            threads = count,
                            samples = SAMPLES,
                            inputs = goldenSet?.inputs,
                        )
                    )
                }
            }
        val phone = listOf("maker", "model").joinToString(" ") { "${device[it]}" }
        return Report(check, results.map(::row), phone, document(check, results, started, before))
    }

    @Suppress("UNCHECKED_CAST") // Bench.run's own fields
    private fun row(result: Map<String, Any?>): Row {
        val series = result["series"] as Map<String, Any?>
        val samples = series["samples_ns"] as List<Long>
        val cold = result["cold"] as Map<String, Long>
        return Row(
            series["threads_asked"] as Int,
            percentile(samples, 50.0),
            percentile(samples, 90.0),
            cold.getValue("first_inference_ns"),
        )
    }

    private fun document(
        check: GoldenCheck?,
        results: List<Map<String, Any?>>,
        started: String,
        before: Map<String, Any?>,
    ): Map<String, Any?> {
        val reasons =
            listOfNotNull(
                "no golden set for a model opened from a file".takeIf { check == null },
                "the golden set failed".takeIf { check?.passed == false },
            )
        return mapOf(
            "schema_version" to 1,
            "artifact" to "${spec.name}-${spec.backend}-${spec.precision}",
            "artifact_sha256" to results.firstOrNull()?.get("model_sha256").toString(),
            "backend" to spec.backend,
            "precision" to spec.precision,
            "via" to "app",
            "device" to device,
            "golden" to
                mapOf(
                    "passed" to (check?.passed == true),
                    "samples" to (check?.samples ?: 0),
                    "max_error" to check?.maxError,
                    "limit" to (check?.limit ?: 0.0),
                    "agreement" to check?.agreement,
                    "detail" to reasons.joinToString("; "),
                ),
            "cold" to results.take(1).map { it["cold"] }, // later ones find a warm process
            "series" to
                results.mapIndexed { order, result ->
                    (result["series"] as Map<*, *>) + ("order" to order)
                },
            "before" to before,
            "after" to conditions(),
            "session" to UUID.randomUUID().toString(),
            "started_utc" to started,
            "versions" to versions,
            "command" to "the app's benchmark screen",
            "valid" to reasons.isEmpty(),
            "reasons" to reasons,
        )
    }

    private companion object {
        const val SAMPLES = 100
    }
}

package org.mobilekd.demo.bench

import java.util.Base64
import java.util.UUID
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.model.Spec

/** One row of the benchmark screen. */
data class Row(val threads: Int, val median: Double, val p90: Double, val first: Long)

/**
 * One file that is measured. [goldenSet] is null for an opened model, which has none; [measure]
 * runs one request in this process.
 */
class Candidate(
    val spec: Spec,
    val goldenSet: GoldenSet?,
    val measure: (Request) -> Map<String, Any?>,
)

/**
 * What the benchmark screen shows and saves of one file, whose [spec] it is; [golden] is null for
 * an opened model, which has no golden set; [phone] is maker and model.
 */
class Report(
    val spec: Spec,
    val golden: GoldenCheck?,
    val rows: List<Row>,
    val phone: String,
    val document: Map<String, Any?>,
) {
    fun json(): String = Json.write(document)
}

/**
 * The benchmark that a person starts: golden sets first, then every number of threads, file by
 * file, so that a phone that grows warm is warm for all. [device] is the phone, [conditions] tell
 * its state, [versions] are those of the app, [stage] hears how far it is (0: golden sets, else
 * threads).
 */
class ScreenBenchmark(
    private val candidates: List<Candidate>,
    private val threads: List<Int>,
    private val device: Map<String, Any?>,
    private val conditions: () -> Map<String, Any?>,
    private val versions: Map<String, String>,
    private val stage: (Int) -> Unit,
) {
    fun run(): List<Report> {
        val started = Phone.utcNow()
        val before = conditions()
        stage(0)
        val checks = candidates.associateWith(::check)
        val results = candidates.associateWith { ArrayList<Map<String, Any?>>() }
        for (count in threads) {
            val timed =
                candidates.filter { checks[it]?.passed != false && (it.onCpu || count == 1) }
            if (timed.isNotEmpty()) stage(count)
            for (candidate in timed) {
                val request =
                    Request(
                        Mode.MEASURE,
                        threads = count,
                        samples = SAMPLES,
                        inputs = candidate.goldenSet?.inputs,
                    )
                results.getValue(candidate) += candidate.measure(request)
            }
        }
        val phone = listOf("maker", "model").joinToString(" ") { "${device[it]}" }
        val run = Run(started, UUID.randomUUID().toString(), before, conditions())
        return candidates.map { candidate ->
            val own = results.getValue(candidate)
            val check = checks[candidate]
            val document = document(candidate.spec, check, own, run)
            Report(candidate.spec, check, own.map(::row), phone, document)
        }
    }

    /** Threads are the CPU's; what runs beside it is timed once. */
    private val Candidate.onCpu: Boolean
        get() = spec.soc == null

    private fun check(candidate: Candidate): GoldenCheck? =
        candidate.goldenSet?.let { set ->
            val answer =
                candidate.measure(Request(Mode.GOLDEN, inputs = set.inputs))["answers"] as String
            golden(
                Base64.getDecoder().decode(answer),
                set.expected,
                candidate.spec.labels.size,
                set.limit,
            )
        }

    private class Run(
        val started: String,
        val session: String,
        val before: Map<String, Any?>,
        val after: Map<String, Any?>,
    )

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
        spec: Spec,
        check: GoldenCheck?,
        results: List<Map<String, Any?>>,
        run: Run,
    ): Map<String, Any?> {
        val reasons =
            listOfNotNull(
                "no golden set for a model opened from a file".takeIf { check == null },
                "the golden set failed".takeIf { check?.passed == false },
            )
        return mapOf(
            "schema_version" to 1,
            "artifact" to
                listOfNotNull(spec.name, spec.backend, spec.precision, spec.soc).joinToString("-"),
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
            "before" to run.before,
            "after" to run.after,
            "session" to run.session,
            "started_utc" to run.started,
            "versions" to
                versions +
                    spec.versions.associate { it.substringBefore('=') to it.substringAfter('=') },
            "command" to "the app's benchmark screen",
            "valid" to reasons.isEmpty(),
            "reasons" to reasons,
        )
    }

    private companion object {
        const val SAMPLES = 100
    }
}

package org.mobilekd.demo.bench

import java.io.Closeable
import java.io.File
import java.security.MessageDigest
import java.util.Base64
import java.util.concurrent.CancellationException
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.answer.rank
import org.mobilekd.demo.model.Engine
import org.mobilekd.demo.model.Spec
import org.mobilekd.demo.photograph.Pixels

/** Nanoseconds of one cold start: map the file, load the method, first inference. */
class Cold(val fileLoad: Long, val methodLoad: Long, val firstInference: Long)

/**
 * Measures one model with one number of threads in this process. Correctness is not judged here:
 * the golden answers are handed over, and whoever asked compares them.
 *
 * @param open loads a model file with a number of threads
 * @param decode opens a photograph upright
 */
class Bench<P>(
    private val request: Request,
    private val model: File,
    private val open: (File, Int) -> Engine,
    private val decode: (File) -> P,
    private val cancelled: () -> Boolean = { false },
) where P : Pixels, P : Closeable {

    /** The fields of the answer that belong to the mode, named as in the measurement schema. */
    fun run(): Map<String, Any?> =
        when (request.mode) {
            Mode.IDENTIFY -> mapOf("mode" to "identify", "model_sha256" to sha256(model))
            Mode.GOLDEN -> golden()
            Mode.MEASURE -> measure()
        }

    private fun golden(): Map<String, Any?> {
        val inputs =
            requireNotNull(request.inputs) { "inputs: the golden mode needs them" }.readBytes()
        open(model, request.threads).use { engine ->
            val spec = Spec.read(engine)
            val answers = inputsOf(inputs, spec).map { engine.forward(it, shape(spec))[0].values }
            return mapOf(
                "mode" to "golden",
                "model_sha256" to sha256(model),
                "count" to answers.size,
                "classes" to spec.labels.size,
                "answers" to Base64.getEncoder().encodeToString(littleEndian(answers)),
            )
        }
    }

    private fun measure(): Map<String, Any?> {
        val baseline = status("VmRSS")
        val start = System.nanoTime()
        open(model, request.threads).use { engine ->
            val loaded = System.nanoTime()
            engine.prepare()
            val prepared = System.nanoTime()
            val spec = Spec.read(engine)
            val input =
                request.inputs?.let { inputsOf(it.readBytes(), spec).first() }
                    ?: FloatArray(3 * spec.preprocess.height * spec.preprocess.width) { 127f }
            val shape = shape(spec)
            fun infer(): Long {
                if (cancelled()) throw CancellationException()
                val before = System.nanoTime()
                engine.forward(input, shape)
                return System.nanoTime() - before
            }
            val cold = Cold(loaded - start, prepared - loaded, infer())
            val warmup = warmUp(request.warmupMax, ::infer)
            val samples = List(request.samples) { infer() }
            val sustained = if (request.seconds > 0) sustained(::infer) else null
            val pipeline = request.photographs?.let { pipeline(engine, spec, it) }
            return mapOf(
                "mode" to "measure",
                "model_sha256" to sha256(model),
                "cold" to
                    mapOf(
                        "file_load_ns" to cold.fileLoad,
                        "method_load_ns" to cold.methodLoad,
                        "first_inference_ns" to cold.firstInference,
                    ),
                "series" to
                    mapOf(
                        "threads_asked" to request.threads,
                        "threads_in_effect" to null,
                        "cores" to "all",
                        "warmup_ns" to warmup.samples,
                        "steady_rule" to warmup.rule,
                        "samples_ns" to samples,
                    ),
                "pipeline" to pipeline,
                "memory" to
                    mapOf("baseline_rss_bytes" to baseline, "peak_rss_bytes" to status("VmHWM")),
                "sustained" to sustained,
            )
        }
    }

    private fun sustained(infer: () -> Long): Map<String, Any?> {
        val offsets = ArrayList<Long>()
        val samples = ArrayList<Long>()
        val start = System.nanoTime()
        while (System.nanoTime() - start < request.seconds * 1e9) {
            offsets += System.nanoTime() - start
            samples += infer()
        }
        return mapOf("threads" to request.threads, "offsets_ns" to offsets, "samples_ns" to samples)
    }

    /**
     * The whole path of the app over the photographs in turn, until as many were seen as samples
     * are wanted.
     */
    private fun pipeline(engine: Engine, spec: Spec, folder: File): Map<String, List<Long>> {
        val files =
            folder
                .listFiles()
                .orEmpty()
                .filter { it.extension.lowercase() in setOf("jpg", "jpeg", "png") }
                .sortedBy { it.name }
        require(files.isNotEmpty()) { "photographs: no JPEG or PNG in $folder" }
        val steps = List(4) { ArrayList<Long>() }
        repeat(request.samples) { index ->
            if (cancelled()) throw CancellationException()
            val marks = LongArray(5)
            marks[0] = System.nanoTime()
            decode(files[index % files.size]).use { photograph ->
                marks[1] = System.nanoTime()
                val tensor = spec.preprocess.apply(photograph, cancelled).tensor()
                marks[2] = System.nanoTime()
                val outputs = engine.forward(tensor, shape(spec))
                marks[3] = System.nanoTime()
                rank(spec.labels, outputs[0].values)
                marks[4] = System.nanoTime()
            }
            steps.forEachIndexed { step, times -> times += marks[step + 1] - marks[step] }
        }
        return listOf("decode_ns", "resize_ns", "execute_ns", "post_ns").zip(steps).toMap()
    }

    private fun shape(spec: Spec) =
        longArrayOf(1, 3, spec.preprocess.height.toLong(), spec.preprocess.width.toLong())

    companion object {
        /** Version of the contract with mobilekd/runners/app.py. */
        const val CONTRACT = 1

        /** The answer as one JSON document. */
        fun document(fields: Map<String, Any?>): String =
            Json.write(mapOf("mobilekd_app" to CONTRACT) + fields)

        /** Hex SHA-256 of a file. */
        fun sha256(file: File): String {
            val digest = MessageDigest.getInstance("SHA-256")
            file.inputStream().use { input ->
                val buffer = ByteArray(1 shl 16)
                while (true) {
                    val count = input.read(buffer)
                    if (count < 0) break
                    digest.update(buffer, 0, count)
                }
            }
            return digest.digest().joinToString("") { "%02x".format(it) }
        }

        /** A line of `/proc/self/status` in bytes, or null where the kernel does not tell. */
        private fun status(name: String): Long? =
            File("/proc/self/status").takeIf(File::canRead)?.useLines { lines ->
                lines
                    .firstOrNull { it.startsWith("$name:") }
                    ?.filter(Char::isDigit)
                    ?.toLongOrNull()
                    ?.times(1024)
            }
    }
}

package org.mobilekd.demo.bench

import android.content.Context
import android.os.Bundle
import android.os.Debug
import java.io.File
import java.io.IOException
import java.util.Base64
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.answer.Nonsense
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.photograph.NotAPhotograph
import org.mobilekd.demo.photograph.PhotographDecoder
import org.mobilekd.demo.photograph.TooLittleMemory

/** What both entries for adb share: read the request, measure, wrap the answer. */
class BenchEntry(private val context: Context) {
    /**
     * The answer's file where adb can read it; [BenchFailed] on a phone whose shared storage is
     * away.
     */
    val file: File
        get() =
            File(
                context.getExternalFilesDir(null)
                    ?: throw BenchFailed("the phone's shared storage is not there"),
                "bench.json",
            )

    /** Delete an earlier answer, so that it is not taken for this one. */
    fun forget() {
        context.getExternalFilesDir(null)?.let { File(it, "bench.json").delete() }
    }

    /** Leave [document] in [file], which appears whole or not at all. */
    fun write(document: String) {
        val part = File("${file.path}.part")
        try {
            part.writeText(document)
            if (!part.renameTo(file)) throw IOException("$part cannot be renamed")
        } catch (error: IOException) {
            part.delete()
            throw BenchFailed(error.message.orEmpty())
        }
    }

    /** The answer, or what went wrong, as one JSON document. */
    fun document(value: (String) -> String?): String =
        try {
            run(value)
        } catch (error: BenchFailed) {
            Json.write(mapOf("mobilekd_app" to Bench.CONTRACT, "error" to error.message))
        }

    /**
     * The answer, or what went wrong, for standard output; a document of more than [longest]
     * characters is left in [file].
     */
    fun bundle(value: (String) -> String?, longest: Int = LONGEST): Bundle {
        val result = Bundle()
        try {
            val document = run(value)
            val packed = Base64.getEncoder().encodeToString(document.toByteArray())
            if (packed.length <= longest) {
                result.putString("mobilekd_json", packed)
            } else {
                write(document)
                result.putString("mobilekd_file", file.path)
            }
        } catch (error: BenchFailed) {
            result.putString(ERROR, error.message)
        }
        return result
    }

    /**
     * One JSON document; [BenchFailed] holds one line for a person, whatever happened: adb waits
     * for an answer.
     */
    fun run(value: (String) -> String?): String {
        try {
            val request = Request.read(value)
            val application = context.applicationContext as DemoApplication
            val store = ModelStore(context)
            val model = request.model ?: store.builtIn()
            val fields =
                Bench(request, model, application::openEngine, PhotographDecoder::open).run()
            return Bench.document(fields + memory(fields) + about(store))
        } catch (error: UnfitModel) {
            throw BenchFailed("the model is refused: ${error.reason}")
        } catch (error: EngineTrouble) {
            throw BenchFailed("ExecuTorch: ${error.detail}")
        } catch (error: Nonsense) {
            throw BenchFailed("the model answered ${error.detail}")
        } catch (_: NotAPhotograph) {
            throw BenchFailed("photographs: one cannot be decoded here")
        } catch (_: TooLittleMemory) {
            throw BenchFailed("photographs: one does not fit into memory")
        } catch (error: IllegalArgumentException) {
            throw BenchFailed(error.message.orEmpty())
        } catch (error: IOException) {
            throw BenchFailed(error.message.orEmpty())
        } catch (_: OutOfMemoryError) {
            throw BenchFailed("the measurement does not fit into the app's memory")
        } catch (
            error: RuntimeException) { // a fault of the app's own, named so that it can be found
            throw BenchFailed(error.toString())
        }
    }

    private fun memory(fields: Map<String, Any?>): Map<String, Any?> {
        val memory = fields["memory"] as? Map<*, *> ?: return emptyMap()
        return mapOf("memory" to memory + ("pss_bytes" to Debug.getPss() * 1024))
    }

    private fun about(store: ModelStore): Map<String, Any?> {
        val app = context.packageManager.getPackageInfo(context.packageName, 0).versionName
        return mapOf(
            "apk_sha256" to
                File(context.applicationInfo.sourceDir).takeIf(File::canRead)?.let {
                    Bench.sha256(it)
                },
            "versions" to mapOf("app" to app, "executorch" to store.runtime().version),
        )
    }

    companion object {
        /** The key of [bundle] that says what went wrong. */
        const val ERROR = "mobilekd_error"

        /** Characters; what a Bundle carries to the shell is limited. */
        private const val LONGEST = 200_000
    }
}

/** The measurement could not be made; the message is one line for a person. */
class BenchFailed(message: String) : Exception(message.lineSequence().first())

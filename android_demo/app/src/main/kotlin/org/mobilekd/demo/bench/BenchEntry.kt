package org.mobilekd.demo.bench

import android.content.Context
import android.os.Debug
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.answer.Nonsense
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.photograph.NotAPhotograph
import org.mobilekd.demo.photograph.PhotographDecoder
import org.mobilekd.demo.photograph.TooLittleMemory
import java.io.File
import java.io.IOException

/** What both entries for adb share: read the request, measure, wrap the answer. */
class BenchEntry(private val context: Context) {
    /** The answer's file where adb can read it. */
    val file: File get() = File(checkNotNull(context.getExternalFilesDir(null)), "bench.json")

    /** One JSON document; [BenchFailed] holds one line for a person. */
    fun run(value: (String) -> String?): String {
        try {
            val request = Request.read(value)
            val application = context.applicationContext as DemoApplication
            val store = ModelStore(context)
            val model = request.model ?: store.builtIn()
            val fields = Bench(request, model, application::openEngine, PhotographDecoder::open).run()
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
        }
    }

    private fun memory(fields: Map<String, Any?>): Map<String, Any?> {
        val memory = fields["memory"] as? Map<*, *> ?: return emptyMap()
        return mapOf("memory" to memory + ("pss_bytes" to Debug.getPss() * 1024))
    }

    private fun about(store: ModelStore): Map<String, Any?> {
        val app = context.packageManager.getPackageInfo(context.packageName, 0).versionName
        return mapOf(
            "apk_sha256" to File(context.applicationInfo.sourceDir).takeIf(File::canRead)?.let { Bench.sha256(it) },
            "versions" to mapOf("app" to app, "executorch" to store.runtime().version),
        )
    }
}

/** The measurement could not be made; the message is one line for a person. */
class BenchFailed(message: String) : Exception(message.lineSequence().first())

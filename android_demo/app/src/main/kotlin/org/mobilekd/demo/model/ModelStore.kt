package org.mobilekd.demo.model

import android.content.Context
import android.net.Uri
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import org.mobilekd.demo.answer.Json

/**
 * The runtime that the APK was built with, and what it needs of the processor
 * (`assets/runtime.json`).
 */
data class RuntimeFacts(val name: String, val version: String, val needs: Set<String>)

/**
 * The models inside the APK, and the one that the user opened, which stays until the built-in ones
 * are asked for again.
 */
class ModelStore(private val context: Context) {
    private val folder = File(context.filesDir, "models").apply { mkdirs() }
    private val opened = File(folder, "opened.pte")
    private val candidate = File(folder, "candidate.pte")

    /** True while a model from a file is used. */
    val isOpened: Boolean
        get() = opened.exists()

    /** The model that the user opened; null where the built-in ones are used. */
    fun opened(): File? = opened.takeIf(File::exists)

    /** What the build put into the APK, in its order. */
    val carried: List<Carried> by lazy {
        try {
            Carried.read(context.assets.open(LIST).use { it.readBytes().decodeToString() })
        } catch (_: FileNotFoundException) {
            listOf(Carried.ONLY)
        }
    }

    /** What became of files that were tried; a new installation begins anew. */
    val trials: Trials
        get() = Trials(installation())

    /**
     * A model inside the APK, copied out of it once per installation, because the runtime wants a
     * path; [UnfitModel] where there is none.
     */
    fun builtIn(carried: Carried = Carried.ONLY): File {
        val file = File(installation(), "${carried.folder}.pte")
        if (file.exists()) return file
        try {
            context.assets.open("${carried.folder}/$MODEL").use { whole(it, file) }
        } catch (_: FileNotFoundException) {
            throw UnfitModel(Unfit.Missing)
        } catch (error: IOException) {
            throw UnfitModel(Unfit.NotCopied, error)
        }
        return file
    }

    /** A private copy of [uri] that [keep] makes the current model once it was found fit. */
    fun candidate(uri: Uri): File {
        try {
            val input =
                context.contentResolver.openInputStream(uri) ?: throw IOException("nothing at $uri")
            input.use { whole(it, candidate) }
        } catch (error: IOException) {
            throw UnfitModel(Unfit.NotCopied, error)
        } catch (error: RuntimeException) { // a foreign provider
            throw UnfitModel(Unfit.NotCopied, error)
        }
        return candidate
    }

    /** The candidate is fit: use it from now on. */
    fun keep(candidate: File) {
        if (!candidate.renameTo(opened))
            throw UnfitModel(Unfit.NotCopied, IOException("$candidate cannot be renamed"))
    }

    /** The candidate is unfit, and as large as a model is: away with it. */
    fun discardCandidate() {
        candidate.delete()
    }

    /** Forget the opened model. */
    fun forgetOpened() {
        opened.delete()
    }

    /** What the build wrote about the runtime; nothing is needed where it wrote nothing. */
    fun runtime(): RuntimeFacts {
        val facts =
            try {
                context.assets.open("runtime.json").use {
                    Json.read(it.readBytes().decodeToString())
                } as Map<*, *>
            } catch (_: FileNotFoundException) {
                emptyMap<String, Any>()
            }
        val needs = (facts["needs"] as? List<*>).orEmpty().map { it.toString() }
        return RuntimeFacts(
            facts["name"]?.toString().orEmpty(),
            facts["version"]?.toString().orEmpty(),
            needs.toSet(),
        )
    }

    /** Where this installation keeps its copies; those of earlier ones are deleted. */
    private fun installation(): File {
        val installed = context.packageManager.getPackageInfo(context.packageName, 0).lastUpdateTime
        val place = File(folder, "$BUILT_IN-$installed")
        if (!place.exists()) {
            folder
                .listFiles { other -> other.name.startsWith(BUILT_IN) }
                .orEmpty()
                .forEach(File::deleteRecursively)
            place.mkdirs()
        }
        return place
    }

    private fun whole(input: InputStream, file: File) {
        val part = File(file.parentFile, "${file.name}.part")
        try {
            part.outputStream().use { input.copyTo(it) }
            if (!part.renameTo(file)) throw IOException("$part cannot be renamed")
        } finally {
            part.delete() // what a full phone took of it
        }
    }

    companion object {
        private const val LIST = "files.json"
        private const val MODEL = "model.pte"
        private const val BUILT_IN = "built-in"
    }
}

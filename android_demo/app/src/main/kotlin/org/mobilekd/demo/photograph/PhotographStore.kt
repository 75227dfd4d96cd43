package org.mobilekd.demo.photograph

import android.content.Context
import android.net.Uri
import android.system.ErrnoException
import android.system.OsConstants
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.util.UUID
import java.util.concurrent.CancellationException

/** The photograph could not be fetched from where it lies. */
class Unreachable(cause: Exception) : IOException(cause)

/** The phone has no room for a copy. */
class NoSpace(cause: Exception) : IOException(cause)

/**
 * Private copies of photographs; each lives until its task is finished, and one that was left
 * behind, for a day.
 */
class PhotographStore(private val context: Context) {
    private val folder = File(context.noBackupFilesDir, FOLDER).apply { mkdirs() }

    /** Copy what [uri] points to; may take long where it lies on a server. */
    fun copy(uri: Uri, cancelled: () -> Boolean): File =
        copy(cancelled) {
            context.contentResolver.openInputStream(uri) ?: throw IOException("nothing at $uri")
        }

    /** Copy the built-in sample [name]. */
    fun copySample(name: String, cancelled: () -> Boolean): File =
        copy(cancelled) { context.assets.open("$SAMPLES/$name") }

    /** Names of the built-in samples. */
    fun samples(): List<String> = context.assets.list(SAMPLES).orEmpty().sorted()

    /** An empty file for the camera app to write into. */
    fun forCamera(): File = fresh().apply { createNewFile() }

    /** Delete what earlier tasks left behind when they were killed. */
    fun sweep(now: Long = System.currentTimeMillis()) {
        folder.listFiles().orEmpty().filter { now - it.lastModified() > DAY }.forEach(File::delete)
    }

    private fun fresh() = File(folder, UUID.randomUUID().toString())

    private fun copy(cancelled: () -> Boolean, open: () -> InputStream): File {
        val file = fresh()
        try {
            open().use { input ->
                file.outputStream().use { output -> transfer(input, output, cancelled) }
            }
            return file
        } catch (error: CancellationException) {
            file.delete()
            throw error
        } catch (error: IOException) {
            file.delete()
            throw if ((error.cause as? ErrnoException)?.errno == OsConstants.ENOSPC) NoSpace(error)
            else Unreachable(error)
        } catch (
            error:
                RuntimeException) { // a foreign provider throws what it likes; the right to read
                                    // ends with its sender
            file.delete()
            throw Unreachable(error)
        }
    }

    private fun transfer(input: InputStream, output: OutputStream, cancelled: () -> Boolean) {
        val buffer = ByteArray(1 shl 16)
        while (true) {
            if (cancelled()) throw CancellationException()
            val count = input.read(buffer)
            if (count < 0) return
            output.write(buffer, 0, count)
        }
    }

    companion object {
        /** Below the folder that backups leave out. */
        const val FOLDER = "photographs"
        private const val SAMPLES = "samples"
        private const val DAY = 24 * 60 * 60 * 1000L
    }
}

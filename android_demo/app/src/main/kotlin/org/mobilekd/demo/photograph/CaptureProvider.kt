package org.mobilekd.demo.photograph

import android.content.ContentProvider
import android.content.ContentValues
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/**
 * Lends the camera app the one file that [PhotographStore.forCamera] made; Android's own
 * FileProvider is not in the framework.
 */
class CaptureProvider : ContentProvider() {
    override fun onCreate(): Boolean = true

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor =
        ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.parseMode(mode))

    override fun getType(uri: Uri): String = "image/jpeg"

    override fun query(
        uri: Uri,
        projection: Array<out String>?,
        selection: String?,
        arguments: Array<out String>?,
        order: String?,
    ): Cursor {
        val file = file(uri)
        val columns = projection ?: arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        return MatrixCursor(columns).apply {
            addRow(
                columns.map {
                    if (it == OpenableColumns.SIZE) file.length()
                    else if (it == OpenableColumns.DISPLAY_NAME) "photograph.jpg" else null
                }
            )
        }
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun update(
        uri: Uri,
        values: ContentValues?,
        selection: String?,
        arguments: Array<out String>?,
    ): Int = 0

    override fun delete(uri: Uri, selection: String?, arguments: Array<out String>?): Int = 0

    private fun file(uri: Uri): File {
        val name = uri.lastPathSegment.orEmpty()
        val folder = File(checkNotNull(context).noBackupFilesDir, PhotographStore.FOLDER)
        return File(folder, name).takeIf { NAME.matches(name) && it.isFile }
            ?: throw FileNotFoundException(uri.toString())
    }

    companion object {
        private val NAME = Regex("[0-9a-f-]{36}")

        /** What the camera app is given for [file]. */
        fun uri(file: File): Uri =
            Uri.Builder()
                .scheme("content")
                .authority("org.mobilekd.demo.capture")
                .appendPath(file.name)
                .build()
    }
}

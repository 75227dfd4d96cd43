package org.mobilekd.demo.photograph

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.ColorSpace
import android.graphics.Matrix
import java.io.Closeable
import java.io.File

/** The file holds nothing that this phone can read as a picture, or only part of one. */
class NotAPhotograph : Exception()

/** The photograph does not fit into this phone's memory. */
class TooLittleMemory : Exception()

/** The one class that touches Android's decoder. */
object PhotographDecoder {
    /** Decode upright, in sRGB whatever the file's own space is, subsampled where huge. */
    fun open(file: File): DecodedPhotograph {
        val stored = bounds(file)
        if (truncated(file)) throw NotAPhotograph()
        val bitmap =
            decode(file, subsampling(stored.outWidth, stored.outHeight), premultiplied = false)
        return DecodedPhotograph(
            bitmap,
            Orientation(Exif.orientation(file), bitmap.width, bitmap.height),
        )
    }

    /**
     * The photograph with a small upright copy for the screen, its longer side at most [side]
     * pixels.
     */
    fun photograph(file: File, side: Int): Photograph {
        val stored = bounds(file)
        var factor = 1
        while (maxOf(stored.outWidth, stored.outHeight) / (factor * 2) >= side) factor *= 2
        val exif = Exif.orientation(file)
        val bitmap = decode(file, factor, premultiplied = true)
        val scale = minOf(1f, side.toFloat() / maxOf(bitmap.width, bitmap.height))
        val upright = uprightMatrix(exif).apply { postScale(scale, scale) }
        val thumbnail =
            Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, upright, true)
        val size = Orientation(exif, stored.outWidth, stored.outHeight)
        return Photograph(file, thumbnail, size.width, size.height)
    }

    private fun bounds(file: File) =
        BitmapFactory.Options().apply {
            inJustDecodeBounds = true
            BitmapFactory.decodeFile(file.path, this)
            if (outWidth <= 0 || outHeight <= 0) throw NotAPhotograph()
        }

    private fun decode(file: File, factor: Int, premultiplied: Boolean): Bitmap {
        val options =
            BitmapFactory.Options().apply {
                inSampleSize = factor
                inScaled = false
                inPremultiplied = premultiplied
                inPreferredConfig = Bitmap.Config.ARGB_8888
                inPreferredColorSpace = ColorSpace.get(ColorSpace.Named.SRGB)
            }
        try {
            return BitmapFactory.decodeFile(file.path, options) ?: throw NotAPhotograph()
        } catch (_: OutOfMemoryError) {
            throw TooLittleMemory()
        }
    }

    private fun uprightMatrix(exif: Int) =
        Matrix().apply {
            when (exif) {
                2 -> setScale(-1f, 1f)
                3 -> setRotate(180f)
                4 -> setScale(1f, -1f)
                5 -> {
                    setRotate(90f)
                    postScale(-1f, 1f)
                }
                6 -> setRotate(90f)
                7 -> {
                    setRotate(-90f)
                    postScale(-1f, 1f)
                }
                8 -> setRotate(-90f)
            }
        }
}

/**
 * A decoded photograph, its pixels read upright and over white. Close it: it holds up to 48 MB
 * outside the Java heap.
 */
class DecodedPhotograph(private val bitmap: Bitmap, private val orientation: Orientation) :
    Pixels, Closeable {
    override val width: Int = orientation.width
    override val height: Int = orientation.height

    /**
     * Stored columns of a turned photograph are read many at a time; one by one would walk the
     * bitmap once per row.
     */
    private val band = IntArray(if (orientation.swapped) BAND * bitmap.height else 0)
    private var bandStart = -1

    override fun row(y: Int, into: IntArray) {
        if (orientation.swapped) turnedRow(y, into) else straightRow(y, into)
        if (bitmap.hasAlpha()) for (x in 0 until width) into[x] = overWhite(into[x])
    }

    private fun straightRow(y: Int, into: IntArray) {
        bitmap.getPixels(into, 0, width, 0, orientation.storedY(0, y), width, 1)
        if (orientation.storedX(0, y) != 0) into.reverse(0, width)
    }

    private fun turnedRow(y: Int, into: IntArray) {
        val column = orientation.storedX(0, y)
        val start = column / BAND * BAND
        val count = minOf(BAND, bitmap.width - start)
        if (start != bandStart) {
            bitmap.getPixels(band, 0, BAND, start, 0, count, bitmap.height)
            bandStart = start
        }
        for (x in 0 until width) into[x] = band[orientation.storedY(x, y) * BAND + column - start]
    }

    override fun close() = bitmap.recycle()

    private companion object {
        const val BAND = 32
    }
}

package org.mobilekd.demo.photograph

import java.io.File

/*
 * Android draws what it has of a truncated photograph and paints the rest grey, and a model would
 * answer on the grey. The desktop refuses such a file; so does this app, by looking for the
 * format's own end.
 */

/**
 * True where a JPEG, PNG or WebP file ends before its own end mark; other formats are left to the
 * decoder.
 */
fun truncated(file: File): Boolean {
    val bytes = file.readBytes()
    fun at(index: Int) = if (index in bytes.indices) bytes[index].toInt() and 255 else -1
    fun word(index: Int) =
        (at(index) shl 24) or (at(index + 1) shl 16) or (at(index + 2) shl 8) or at(index + 3)
    return when {
        at(0) == 0xFF && at(1) == 0xD8 -> !jpegEnds(bytes)
        word(0) == 0x89504E47.toInt() -> {
            var next = 8
            while (next + 8 <= bytes.size && word(next + 4) != 0x49454E44) {
                val length = word(next)
                if (length < 0 || length > bytes.size) return true
                next += length + 12
            }
            next + 12 > bytes.size
        }
        word(0) == 0x52494646 && word(8) == 0x57454250 ->
            Integer.reverseBytes(word(4)).toLong() + 8 > bytes.size
        else -> false
    }
}

/**
 * An end mark after the first scan; a thumbnail in the header has one of its own, so the header is
 * stepped over.
 */
private fun jpegEnds(bytes: ByteArray): Boolean {
    fun at(index: Int) = bytes[index].toInt() and 255
    var next = 2
    while (next + 4 <= bytes.size && at(next) == 0xFF && at(next + 1) != 0xDA) {
        next += if (at(next + 1) == 0xFF) 1 else 2 + (at(next + 2) shl 8) + at(next + 3)
    }
    for (index in next until bytes.size - 1) if (at(index) == 0xFF && at(index + 1) == 0xD9)
        return true
    return false
}

package org.mobilekd.demo.photograph

import java.io.DataInputStream
import java.io.EOFException
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Which way up a photograph was taken, read from the file itself. Android's own reader knows JPEG
 * only before API 29, and the desktop reads PNG and WebP too, so all three are read here, on every
 * phone alike.
 */
object Exif {
    private const val ORIENTATION = 0x0112

    /** 1..8 as EXIF defines them; 1 (upright) where the file does not say or says nonsense. */
    fun orientation(file: File): Int =
        try {
            DataInputStream(file.inputStream().buffered()).use(::read)
        } catch (_: EOFException) {
            1
        }

    private fun read(input: DataInputStream): Int {
        val first = input.readInt()
        return when {
            first ushr 16 == 0xFFD8 -> jpeg(input, first and 0xFFFF)
            first == 0x89504E47.toInt() -> png(input)
            first == 0x52494646 -> webp(input)
            else -> 1
        }
    }

    private fun jpeg(input: DataInputStream, firstMarker: Int): Int {
        var marker = firstMarker
        while (marker ushr 8 == 0xFF && marker != 0xFFDA && marker != 0xFFD9) {
            val body =
                ByteArray((input.readUnsignedShort() - 2).coerceAtLeast(0)).also(input::readFully)
            if (marker == 0xFFE1 && body.startsWith("Exif\u0000\u0000")) return tiff(body, 6)
            marker = input.readUnsignedShort()
        }
        return 1
    }

    private fun png(input: DataInputStream): Int {
        input.skipFully(4)
        while (true) {
            val length = input.readInt()
            val type = input.readInt()
            if (type == 0x65584966)
                return tiff(
                    ByteArray(length.coerceIn(0, 1 shl 20)).also(input::readFully),
                    0,
                ) // eXIf
            if (type == 0x49454E44 || length < 0) return 1 // IEND
            input.skipFully(length.toLong() + 4)
        }
    }

    private fun webp(input: DataInputStream): Int {
        input.skipFully(8)
        while (true) {
            val type = input.readInt()
            val length = Integer.reverseBytes(input.readInt())
            if (length < 0) return 1
            if (type == 0x45584946) { // EXIF, with or without JPEG's own header
                val body = ByteArray(length.coerceAtMost(1 shl 20)).also(input::readFully)
                return tiff(body, if (body.startsWith("Exif\u0000\u0000")) 6 else 0)
            }
            input.skipFully(length + (length and 1).toLong())
        }
    }

    private fun tiff(body: ByteArray, start: Int): Int {
        val bytes = ByteBuffer.wrap(body, start, body.size - start).slice()
        if (bytes.remaining() < 8) return 1
        bytes.order(
            if (bytes.get(0) == 'I'.code.toByte()) ByteOrder.LITTLE_ENDIAN else ByteOrder.BIG_ENDIAN
        )
        val directory = bytes.getInt(4)
        if (directory < 8 || directory > bytes.limit() - 2) return 1
        val entries = bytes.getShort(directory).toInt() and 0xFFFF
        for (index in 0 until entries) {
            val at = directory + 2 + 12 * index
            if (at + 12 > bytes.limit()) return 1
            if (bytes.getShort(at).toInt() == ORIENTATION)
                return bytes.getShort(at + 8).toInt().takeIf { it in 1..8 } ?: 1
        }
        return 1
    }

    private fun ByteArray.startsWith(text: String) =
        size >= text.length && text.indices.all { this[it] == text[it].code.toByte() }

    private fun DataInputStream.skipFully(count: Long) {
        var left = count
        while (left > 0) {
            val skipped = skip(left)
            if (skipped == 0L) readByte().also { left-- } else left -= skipped
        }
    }
}

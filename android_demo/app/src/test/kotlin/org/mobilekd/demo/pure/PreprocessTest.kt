package org.mobilekd.demo.pure

import java.util.concurrent.CancellationException
import kotlin.random.Random
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.mobilekd.demo.photograph.HeldPixels
import org.mobilekd.demo.photograph.Orientation
import org.mobilekd.demo.photograph.overWhite
import org.mobilekd.demo.photograph.subsampling
import org.mobilekd.demo.tensor.Picture
import org.mobilekd.demo.tensor.Preprocess

class PreprocessTest {
    private val random = Random(0)

    private fun noise(width: Int, height: Int) =
        HeldPixels(
            width,
            height,
            IntArray(width * height) { (255 shl 24) or random.nextInt(1 shl 24) },
        )

    @Test
    fun `the crop is the largest centred box of the model's aspect ratio`() {
        repeat(2000) {
            val preprocess = Preprocess(random.nextInt(1, 300), random.nextInt(1, 300))
            val width = random.nextInt(1, 9000)
            val height = random.nextInt(1, 9000)
            val box = preprocess.cropBox(width, height)
            assertTrue(
                "$box in $width x $height",
                box.left >= 0 && box.top >= 0 && box.right <= width && box.bottom <= height,
            )
            assertTrue(box.width == width || box.height == height)
            assertTrue(
                box.left - (width - box.right) in -1..0 && box.top - (height - box.bottom) in -1..0
            )
        }
    }

    @Test
    fun `a picture of the model's size passes unchanged`() {
        val photo = noise(31, 17)
        val row = IntArray(31)
        val picture = Preprocess(31, 17).apply(photo)
        val argb = picture.argb()
        for (y in 0 until 17) {
            photo.row(y, row)
            assertArrayEquals(row, argb.copyOfRange(y * 31, (y + 1) * 31))
        }
    }

    @Test
    fun `a flat photograph stays flat at any size`() {
        for ((width, height) in listOf(1 to 1, 7 to 900, 900 to 7, 640 to 480, 2 to 3)) {
            val flat = HeldPixels(width, height, IntArray(width * height) { 0xFF40C0FF.toInt() })
            val argb = Preprocess(32, 24).apply(flat).argb()
            assertTrue(argb.all { it == 0xFF40C0FF.toInt() })
        }
    }

    @Test
    fun `the tensor holds planes of 0 to 255`() {
        val picture = Picture(2, 1, byteArrayOf(1, 2, 3, -1, -2, -3))
        assertArrayEquals(floatArrayOf(1f, 255f, 2f, 254f, 3f, 253f), picture.tensor(), 0f)
    }

    @Test
    fun `a cancelled resize stops`() {
        var rows = 0
        assertThrows(CancellationException::class.java) {
            Preprocess(8, 8).apply(noise(64, 64)) { ++rows > 5 }
        }
        assertEquals(6, rows)
    }

    @Test
    fun `huge photographs are subsampled to twelve million pixels`() {
        assertEquals(1, subsampling(4000, 3000))
        assertEquals(2, subsampling(4001, 3000))
        assertEquals(2, subsampling(8000, 6000))
        assertEquals(4, subsampling(8002, 6000))
        assertEquals(8, subsampling(60000, 60000))
    }

    @Test
    fun `every orientation shows every stored pixel once`() {
        for (exif in 1..8) {
            val orientation = Orientation(exif, 5, 3)
            val seen = HashSet<Pair<Int, Int>>()
            for (y in 0 until orientation.height) for (x in 0 until orientation.width) {
                seen += orientation.storedX(x, y) to orientation.storedY(x, y)
            }
            assertEquals(
                "EXIF $exif",
                (0 until 3).flatMap { y -> (0 until 5).map { x -> x to y } }.toSet(),
                seen,
            )
        }
        assertEquals(
            "6: the stored left column becomes the top row, from the bottom",
            0 to 2,
            Orientation(6, 5, 3).run { storedX(0, 0) to storedY(0, 0) },
        )
    }

    @Test
    fun `transparent is white and opaque stays`() {
        assertEquals(0xFFFFFFFF.toInt(), overWhite(0x00123456))
        assertEquals(0xFF123456.toInt(), overWhite(0xFF123456.toInt()))
        assertEquals(0xFF7F7F7F.toInt(), overWhite(0x80000000.toInt()))
    }
}

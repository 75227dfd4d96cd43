package org.mobilekd.demo.pure

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.bench.Mode
import org.mobilekd.demo.bench.Request
import org.mobilekd.demo.bench.golden
import org.mobilekd.demo.bench.percentile
import org.mobilekd.demo.bench.warmUp

class BenchTest {
    private fun bytes(vararg values: Float): ByteArray =
        ByteBuffer.allocate(values.size * 4)
            .order(ByteOrder.LITTLE_ENDIAN)
            .also { buffer -> values.forEach(buffer::putFloat) }
            .array()

    @Test
    fun `warm-up ends when two windows agree, and says when they never do`() {
        var at = 0L
        val falling = warmUp(200) { if (at++ < 20) 1000 - 20 * at else 500 }
        assertEquals(40, falling.samples.size)
        assertTrue(!falling.rule.contains("not reached"))
        at = 1
        val never = warmUp(55) { (at++).let { it * it } }
        assertEquals(50, never.samples.size)
        assertTrue(never.rule.endsWith("; not reached within 55"))
        assertEquals(0, warmUp(0) { 1 }.samples.size)
    }

    @Test
    fun `percentiles are numpy's`() {
        val samples = listOf(4L, 1L, 3L, 2L)
        assertEquals(2.5, percentile(samples, 50.0), 0.0)
        assertEquals(3.7, percentile(samples, 90.0), 1e-12)
        assertEquals(1.0, percentile(samples, 0.0), 0.0)
    }

    @Test
    fun `the golden set passes within its limit only`() {
        val expected = bytes(0.2f, 0.8f, 0.6f, 0.4f)
        assertTrue(golden(expected, expected, 2, 0.0).passed)
        val near = golden(bytes(0.21f, 0.79f, 0.6f, 0.4f), expected, 2, 0.02)
        assertTrue(near.passed)
        assertEquals(1.0, near.agreement, 0.0)
        val far = golden(bytes(0.9f, 0.1f, 0.6f, 0.4f), expected, 2, 0.02)
        assertTrue(!far.passed)
        assertEquals(0.5, far.agreement, 0.0)
        assertTrue(
            "not a number is never a pass",
            !golden(bytes(Float.NaN, 0.8f, 0.6f, 0.4f), expected, 2, 1.0).passed,
        )
    }

    @Test
    fun `requests are read from strings, and a wrong word is named`() {
        val asked = mapOf("mode" to "golden", "threads" to "4", "seconds" to "1.5", "model" to "")
        assertEquals(Request(Mode.GOLDEN, threads = 4, seconds = 1.5), Request.read(asked::get))
        for ((key, value) in
            listOf(
                "mode" to "fast",
                "threads" to "0",
                "samples" to "many",
                "seconds" to "NaN",
                "warmup_max" to "-1",
            )) {
            val error =
                assertThrows(IllegalArgumentException::class.java) {
                    Request.read(mapOf(key to value)::get)
                }
            assertEquals("$key: $value is not a fit value", error.message)
        }
    }

    @Test
    fun `JSON goes there and back`() {
        val document =
            mapOf(
                "text" to "a\"\\\n\u0001ä☃",
                "list" to listOf(1L, -2.5, true, null, emptyList<Any>()),
                "map" to emptyMap<String, Any>(),
            )
        assertEquals(document, Json.read(Json.write(document)))
        assertEquals(
            mapOf("a" to listOf(1e3, "\u00e9/")),
            Json.read(" { \"a\" : [ 1e3 , \"\\u00e9\\/\" ] } "),
        )
        for (bad in
            listOf(
                "",
                "{",
                "[1,]",
                "{\"a\" 1}",
                "\"\\x\"",
                "01",
                "nul",
                "1 2",
                "\"open",
                "[".repeat(1000),
            )) {
            assertThrows(bad, IllegalArgumentException::class.java) { Json.read(bad) }
        }
        assertThrows(IllegalArgumentException::class.java) { Json.write(Double.NaN) }
    }
}

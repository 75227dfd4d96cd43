package org.mobilekd.demo.screen

import java.io.File
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.photograph.NotAPhotograph
import org.mobilekd.demo.photograph.PhotographDecoder
import org.mobilekd.demo.tensor.Preprocess
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/**
 * Decodes and crops every photograph as the phone does and leaves the pictures for the caller, who
 * has Python's.
 */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class DecodeTest {
    @Test
    fun `leave the pictures for Python`() {
        val output = File(System.getProperty("mobilekd.tensors"))
        val (width, height) = System.getProperty("mobilekd.size").split("x").map(String::toInt)
        val preprocess = Preprocess(width, height)
        val sizes =
            photographs.listFiles().orEmpty().sorted().mapNotNull { file ->
                try {
                    PhotographDecoder.open(file).use { photograph ->
                        File(output, "${file.name}.u8").writeBytes(preprocess.apply(photograph).rgb)
                        file.name to listOf(photograph.width, photograph.height)
                    }
                } catch (_: NotAPhotograph) {
                    file.name to null
                }
            }
        File(output, "sizes.json").writeText(Json.write(sizes.toMap()))
    }
}

package org.mobilekd.demo.screen

import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.answer.Attention
import org.mobilekd.demo.photograph.Photograph
import org.mobilekd.demo.tensor.Preprocess
import org.mobilekd.demo.ui.PhotographView
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class PhotographViewTest {
    /**
     * A grey photograph that is all crop, with [attention] over it, pixel by pixel: how red it is.
     */
    private fun drawn(attention: Attention?): IntArray {
        val grey =
            Bitmap.createBitmap(SIDE, SIDE, Bitmap.Config.ARGB_8888).apply {
                eraseColor(Color.GRAY)
            }
        val view = PhotographView(RuntimeEnvironment.getApplication(), null)
        view.show(Photograph(File("none"), grey, SIDE, SIDE), Preprocess(128, 128), attention)
        view.layout(0, 0, SIDE, SIDE)
        val canvas = Bitmap.createBitmap(SIDE, SIDE, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(canvas))
        return IntArray(SIDE * SIDE)
            .also { canvas.getPixels(it, 0, SIDE, 0, 0, SIDE, SIDE) }
            .map(Color::red)
            .toIntArray()
    }

    @Test
    fun `the shade lies where the cell looks, around its upper left corner`() {
        val warm = Attention(4, 4, List(16) { if (it == 2 * 4 + 1) 1f else 0f })
        val plain = drawn(null)
        val shade = drawn(warm).mapIndexed { index, red -> red - plain[index] }
        val whole = shade.sum().toDouble()
        assertEquals(
            SIDE * 1 / 4.0,
            shade.indices.sumOf { (it % SIDE + 0.5) * shade[it] } / whole,
            STEP,
        )
        assertEquals(
            SIDE * 2 / 4.0,
            shade.indices.sumOf { (it / SIDE + 0.5) * shade[it] } / whole,
            STEP,
        )
    }

    @Test
    fun `a map that is warm all over leaves no edge cold`() {
        val plain = drawn(null)
        val shade =
            drawn(Attention(4, 4, List(16) { 1f })).mapIndexed { index, red -> red - plain[index] }
        for (middle in
            listOf(
                SIDE / 2,
                SIDE / 2 * SIDE,
                SIDE / 2 * SIDE + SIDE - 1,
                (SIDE - 1) * SIDE + SIDE / 2,
            )) {
            assertEquals(shade[SIDE / 2 * SIDE + SIDE / 2], shade[middle])
        }
    }

    private companion object {
        const val SIDE = 400

        /** Drawn without a GPU, a cell is blended in sixteenths. */
        const val STEP = SIDE / 4.0 / 16
    }
}

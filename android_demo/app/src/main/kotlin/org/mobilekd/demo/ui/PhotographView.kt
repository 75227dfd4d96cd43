package org.mobilekd.demo.ui

import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapShader
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.Path
import android.graphics.Rect
import android.graphics.RectF
import android.graphics.Shader
import android.util.AttributeSet
import android.view.View
import org.mobilekd.demo.R
import org.mobilekd.demo.answer.Attention
import org.mobilekd.demo.photograph.Photograph
import org.mobilekd.demo.tensor.Preprocess

/**
 * The photograph around the model's crop, what lies outside it dimmed, with a frame and a shade
 * where the model looked. Of a long photograph only a margin around the crop is shown, so that the
 * answer below stays in sight.
 */
class PhotographView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val density = resources.displayMetrics.density
    private val picture = Paint(Paint.FILTER_BITMAP_FLAG)
    private val warmth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val dim = Paint().apply { color = 0x8C000000.toInt() }
    private val corners =
        Paint(Paint.ANTI_ALIAS_FLAG).apply {
            style = Paint.Style.STROKE
            strokeCap = Paint.Cap.ROUND
            strokeJoin = Paint.Join.ROUND
        }
    private var shown: Bitmap? = null
    private var heat: Bitmap? = null

    /** The model's crop and the part that is shown, both in the thumbnail's pixels. */
    private val crop = Rect()
    private val window = Rect()

    /** Show [photograph] with the crop of [preprocess], and [attention] over it if any. */
    fun show(photograph: Photograph, preprocess: Preprocess, attention: Attention?) {
        val bitmap = photograph.thumbnail
        shown = bitmap
        heat = attention?.let(::heat)
        preprocess.cropBox(bitmap.width, bitmap.height).run { crop.set(left, top, right, bottom) }
        window.set(crop)
        window.inset(-(crop.width() * MARGIN).toInt(), -(crop.height() * MARGIN).toInt())
        window.intersect(0, 0, bitmap.width, bitmap.height)
        requestLayout()
        invalidate()
    }

    override fun onMeasure(widthSpec: Int, heightSpec: Int) {
        val width = MeasureSpec.getSize(widthSpec)
        if (shown == null) return setMeasuredDimension(width, 0)
        val highest =
            (resources.displayMetrics.heightPixels *
                    resources.getFraction(R.fraction.photograph, 1, 1))
                .toInt()
        val wanted = (width.toLong() * window.height() / window.width()).toInt()
        setMeasuredDimension(
            width,
            wanted.coerceIn(
                (MINIMUM * density).toInt(),
                highest.coerceAtLeast((MINIMUM * density).toInt()),
            ),
        )
    }

    override fun onDraw(canvas: Canvas) {
        val bitmap = shown ?: return
        val scale = minOf(width.toFloat() / window.width(), height.toFloat() / window.height())
        val left = (width - window.width() * scale) / 2
        val top = (height - window.height() * scale) / 2
        fun placed(box: Rect) =
            RectF(
                left + (box.left - window.left) * scale,
                top + (box.top - window.top) * scale,
                left + (box.right - window.left) * scale,
                top + (box.bottom - window.top) * scale,
            )
        val whole = placed(window)
        val frame = placed(crop)
        canvas.save()
        canvas.clipPath(
            Path().apply {
                addRoundRect(whole, RADIUS * density, RADIUS * density, Path.Direction.CW)
            }
        )
        canvas.drawBitmap(bitmap, window, whole, picture)
        heat?.let { drawHeat(canvas, it, frame) }
        val outside =
            Path().apply {
                fillType = Path.FillType.EVEN_ODD
                addRect(whole, Path.Direction.CW)
                addRect(frame, Path.Direction.CW)
            }
        canvas.drawPath(outside, dim)
        canvas.restore()
        drawCorners(canvas, frame)
    }

    /**
     * [heat] over [frame], each cell's middle where the cell looks ([Attention]); what lies beyond
     * the last cells is as warm as they are.
     */
    private fun drawHeat(canvas: Canvas, heat: Bitmap, frame: RectF) {
        val cells =
            Matrix().apply {
                setTranslate(-0.5f, -0.5f)
                postScale(frame.width() / heat.width, frame.height() / heat.height)
                postTranslate(frame.left, frame.top)
            }
        warmth.shader =
            BitmapShader(heat, Shader.TileMode.CLAMP, Shader.TileMode.CLAMP).apply {
                setLocalMatrix(cells)
            }
        canvas.drawRect(frame, warmth)
    }

    private fun drawCorners(canvas: Canvas, frame: RectF) {
        frame.inset(10 * density, 10 * density)
        val arm = minOf(28 * density, frame.width() / 3, frame.height() / 3)
        val path =
            Path().apply {
                for ((x, towards) in listOf(frame.left to arm, frame.right to -arm)) {
                    for ((y, down) in listOf(frame.top to arm, frame.bottom to -arm)) {
                        moveTo(x + towards, y)
                        lineTo(x, y)
                        lineTo(x, y + down)
                    }
                }
            }
        corners.color = 0x66000000
        corners.strokeWidth = 6 * density
        canvas.drawPath(path, corners)
        corners.color = Color.WHITE
        corners.strokeWidth = 3 * density
        canvas.drawPath(path, corners)
    }

    /** Warm where the model looked, clear where it did not. */
    private fun heat(attention: Attention): Bitmap {
        val pixels =
            IntArray(attention.values.size) {
                Color.argb((attention.values[it] * HEAT).toInt(), 255, 140, 0)
            }
        return Bitmap.createBitmap(
            pixels,
            attention.width,
            attention.height,
            Bitmap.Config.ARGB_8888,
        )
    }

    private companion object {
        /** Of the crop's sides, shown around it where the photograph goes on. */
        const val MARGIN = 0.1
        const val MINIMUM = 120
        const val RADIUS = 20
        const val HEAT = 150
    }
}

package org.mobilekd.demo.ui

import android.content.Context
import android.graphics.Canvas
import android.graphics.Path
import android.util.AttributeSet
import android.widget.ImageButton

/** A sample's picture with round corners. */
class SampleButton(context: Context, attributes: AttributeSet?) : ImageButton(context, attributes) {
    private val corners = Path()

    override fun onSizeChanged(width: Int, height: Int, oldWidth: Int, oldHeight: Int) {
        val radius = 16 * resources.displayMetrics.density
        corners.rewind()
        corners.addRoundRect(
            0f,
            0f,
            width.toFloat(),
            height.toFloat(),
            radius,
            radius,
            Path.Direction.CW,
        )
    }

    override fun onDraw(canvas: Canvas) {
        canvas.clipPath(corners)
        super.onDraw(canvas)
    }
}

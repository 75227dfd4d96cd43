package org.mobilekd.demo.ui

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import org.mobilekd.demo.R

/** A probability as a bar that grows from where reading starts. */
class BarView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val track =
        Paint(Paint.ANTI_ALIAS_FLAG).apply { color = context.getColor(R.color.sunken) }
    private val fill =
        Paint(Paint.ANTI_ALIAS_FLAG).apply { color = context.getColor(R.color.primary) }

    /** 0..1. */
    var share = 0f
        set(value) {
            field = value
            invalidate()
        }

    override fun onDraw(canvas: Canvas) {
        val radius = height / 2f
        val length = (width * share).coerceAtLeast(height.toFloat())
        val start = if (layoutDirection == LAYOUT_DIRECTION_RTL) width - length else 0f
        canvas.drawRoundRect(0f, 0f, width.toFloat(), height.toFloat(), radius, radius, track)
        canvas.drawRoundRect(start, 0f, start + length, height.toFloat(), radius, radius, fill)
    }
}

package org.mobilekd.demo.ui

import android.content.Context
import android.text.TextPaint
import android.util.AttributeSet
import android.widget.TextView

/**
 * A text that cuts no word: where the longest one is wider than the view, as a class's name is in
 * the largest fonts, the text is set as much smaller as it takes.
 */
class WholeWordsView(context: Context, attributes: AttributeSet?) : TextView(context, attributes) {
    /** In pixels, as it was asked for. */
    private var wanted = textSize

    override fun setTextSize(unit: Int, size: Float) {
        super.setTextSize(unit, size)
        wanted = textSize
    }

    override fun onMeasure(widthMeasureSpec: Int, heightMeasureSpec: Int) {
        val room =
            MeasureSpec.getSize(widthMeasureSpec) - compoundPaddingLeft - compoundPaddingRight
        val ruler = TextPaint(paint).apply { textSize = wanted }
        val longest = text.split(' ').maxOf { ruler.measureText(it) }
        paint.textSize = if (longest > room) wanted * room / longest else wanted
        super.onMeasure(widthMeasureSpec, heightMeasureSpec)
    }
}

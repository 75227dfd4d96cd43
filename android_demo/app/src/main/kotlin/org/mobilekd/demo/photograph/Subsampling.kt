package org.mobilekd.demo.photograph

/** Above this many pixels a photograph is subsampled while it is decoded. */
const val HUGE = 12_000_000L

/** 1, 2, 4 or 8: the least power of two that brings a photograph to at most [HUGE] pixels. */
fun subsampling(width: Int, height: Int): Int {
    var factor = 1
    while (factor < 8 && (width / factor).toLong() * (height / factor) > HUGE) factor *= 2
    return factor
}

package org.mobilekd.demo.photograph

import android.graphics.Bitmap
import java.io.File

/**
 * The app's private copy of a photograph with a small upright picture of it for the screen.
 *
 * @property width of the whole photograph, upright, in pixels
 */
class Photograph(val file: File, val thumbnail: Bitmap, val width: Int, val height: Int)

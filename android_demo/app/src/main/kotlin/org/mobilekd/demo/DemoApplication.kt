package org.mobilekd.demo

import android.app.Application
import java.io.File
import org.mobilekd.demo.model.Engine
import org.mobilekd.demo.model.ExecuTorchEngine

/**
 * Says which engine opens a model file, so that a test without Android's libraries can say another.
 */
open class DemoApplication : Application() {
    open fun openEngine(file: File, threads: Int = 0): Engine = ExecuTorchEngine(file, threads)
}

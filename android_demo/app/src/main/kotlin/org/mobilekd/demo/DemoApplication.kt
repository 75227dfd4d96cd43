package org.mobilekd.demo

import android.app.Application
import android.system.Os
import java.io.File
import org.mobilekd.demo.model.Engine
import org.mobilekd.demo.model.ExecuTorchEngine

/**
 * Says which engine opens a model file, so that a test without Android's libraries can say another.
 */
open class DemoApplication : Application() {
    open fun openEngine(file: File, threads: Int = 0): Engine {
        // where Hexagon finds its part of Qualcomm's libraries, in an app that carries them
        Os.setenv("ADSP_LIBRARY_PATH", applicationInfo.nativeLibraryDir, true)
        return ExecuTorchEngine(file, threads)
    }
}

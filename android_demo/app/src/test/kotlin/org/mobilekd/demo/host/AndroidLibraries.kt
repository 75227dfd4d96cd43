package org.mobilekd.demo.host

import com.facebook.soloader.nativeloader.NativeLoader
import com.facebook.soloader.nativeloader.SystemDelegate

/**
 * Load Android's own libraries into a desktop JVM, over the stand-ins for bionic in the folder
 * [shim] (host_jvm).
 */
fun loadAndroidLibraries(shim: String) {
    for (name in listOf("c", "m", "log", "android", "dl")) System.load("$shim/lib$name.so")
    NativeLoader.initIfUninitialized(SystemDelegate())
}

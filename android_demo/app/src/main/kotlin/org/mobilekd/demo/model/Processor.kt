package org.mobilekd.demo.model

import java.io.File

/**
 * What the runtime inside the APK needs of the processor beyond its architecture, asked before it
 * is loaded: a missing instruction would end the app without a word. The build writes the needs
 * into `runtime.json`.
 */
object Processor {
    /**
     * Those of [needs] that `/proc/cpuinfo` does not list; none on a processor that is not 64-bit
     * Arm.
     */
    fun missing(needs: Set<String>, architecture: String, cpuinfo: String): Set<String> =
        if (architecture == "aarch64") needs - features(cpuinfo) else emptySet()

    /** The same for the phone this runs on. */
    fun missingHere(needs: Set<String>): Set<String> {
        val cpuinfo = File("/proc/cpuinfo")
        return if (cpuinfo.canRead())
            missing(needs, System.getProperty("os.arch").orEmpty(), cpuinfo.readText())
        else emptySet()
    }

    private fun features(cpuinfo: String): Set<String> =
        cpuinfo
            .lineSequence()
            .filter { it.startsWith("Features") }
            .map { it.substringAfter(':').trim().split(' ').toSet() }
            .reduceOrNull(
                Set<String>::intersect
            ) // a phone's slow and fast cores differ; the least of them counts
            .orEmpty()
}

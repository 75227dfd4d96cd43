// Never run by this project: see README.md, "Android Studio".
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.kotlin.android) apply false
}

// The same sources as `mobilekd apk` builds, for Android Studio. Never run by this project, which
// could not reach Gradle and the Android plugin. Put an artifact into src/main/assets first
// (README.md).
plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "org.mobilekd.demo"
    compileSdk = libs.versions.compileSdk.get().toInt()

    defaultConfig {
        applicationId = "org.mobilekd.demo"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = 100
        versionName = "0.1.0"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            proguardFiles("keep.pro")
        }
    }

    androidResources { noCompress += "pte" }
    packaging { jniLibs.useLegacyPackaging = true }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }

    // The tests are driven from pytest, which knows where photographs and stand-ins lie
    // (tests/android).
    sourceSets["test"].setRoot("src/none")
}

dependencies {
    implementation(libs.executorch)
    implementation(libs.fbjni)
    implementation(libs.nativeloader)
}

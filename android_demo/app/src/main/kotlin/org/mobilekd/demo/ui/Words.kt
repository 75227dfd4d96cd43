package org.mobilekd.demo.ui

import android.content.Context
import android.content.res.Configuration
import android.content.res.Resources
import java.util.Locale
import org.mobilekd.demo.R

/**
 * The app's sentences with the numerals and plurals of the language that they are written in. The
 * phone's own would not fit where that is another one: Arabic numerals turn an English sentence
 * round, and Japanese knows no "1 thread".
 */
fun Context.words(): Resources {
    val language = Locale.forLanguageTag(getString(R.string.language))
    return createConfigurationContext(
            Configuration(resources.configuration).apply { setLocale(language) }
        )
        .resources
}

package org.mobilekd.demo.screen

import android.view.View
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.R
import org.mobilekd.demo.ui.CardActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** What the app holds of others, as a picture for the docs; it needs no model. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = DemoApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class NoticesPictureTest {
    @Test
    fun licences() {
        val intent = CardActivity.notices(RuntimeEnvironment.getApplication())
        val page = Robolectric.buildActivity(CardActivity::class.java, intent).shown()
        page.screenshot("licences-light")
        val column: View = page.findViewById(R.id.column)
        assertEquals("its heading is to be seen", 0, (column.parent as View).scrollY)
    }
}

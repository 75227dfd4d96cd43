package org.mobilekd.demo.ui

import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.TextView
import org.mobilekd.demo.R

/** Append a card with a heading and a text. */
fun ViewGroup.addSection(title: String, text: String): View {
    val section = LayoutInflater.from(context).inflate(R.layout.section, this, false)
    section.findViewById<TextView>(R.id.section_title).text = title
    section.findViewById<TextView>(R.id.section_text).text = text
    addView(section)
    return section
}

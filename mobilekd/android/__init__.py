"""The demo app's build without Android Studio: a JDK, Maven, four small Android tools, and what
Maven Central has.

Add here what turns the demo app's sources and an artifact into an APK. Never imports torch, a
backend or a runner.
"""

"""The demo app's build without Android Studio: a JDK, Maven, four small Android tools, and what Maven Central has."""

package androidx.test.runner.intent;

/** Stand-in for androidx.test: no intents are stubbed. */
public final class IntentStubberRegistry {
    public static boolean isLoaded() {
        return false;
    }
}

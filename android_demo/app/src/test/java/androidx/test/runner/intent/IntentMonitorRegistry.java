package androidx.test.runner.intent;

/** Stand-in for androidx.test: nobody monitors intents. */
public final class IntentMonitorRegistry {
    public static void registerInstance(IntentMonitor monitor) {}
}

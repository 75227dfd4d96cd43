package androidx.test.runner.intent;

/** Stand-in for androidx.test. */
public interface IntentMonitor {}

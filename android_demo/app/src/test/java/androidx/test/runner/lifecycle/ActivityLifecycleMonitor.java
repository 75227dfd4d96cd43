package androidx.test.runner.lifecycle;

/** Stand-in for androidx.test. */
public interface ActivityLifecycleMonitor {}

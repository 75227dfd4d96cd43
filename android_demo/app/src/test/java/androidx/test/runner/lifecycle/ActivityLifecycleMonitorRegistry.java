package androidx.test.runner.lifecycle;

/** Stand-in for androidx.test: nobody monitors activities. */
public final class ActivityLifecycleMonitorRegistry {
    public static void registerInstance(ActivityLifecycleMonitor monitor) {}
}

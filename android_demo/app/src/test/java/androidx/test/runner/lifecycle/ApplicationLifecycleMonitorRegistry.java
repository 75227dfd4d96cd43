package androidx.test.runner.lifecycle;

/** Stand-in for androidx.test: nobody monitors the application. */
public final class ApplicationLifecycleMonitorRegistry {
    public static void registerInstance(ApplicationLifecycleMonitor monitor) {}
}

package androidx.test.platform.app;

import android.app.Instrumentation;
import android.os.Bundle;

/**
 * Stand-in for androidx.test, which lives in Google's own repository: holds what Robolectric
 * registers.
 */
public final class InstrumentationRegistry {
    private static Instrumentation instrumentation;
    private static Bundle arguments;

    public static void registerInstance(Instrumentation registered, Bundle given) {
        instrumentation = registered;
        arguments = given;
    }

    public static Instrumentation getInstrumentation() {
        return instrumentation;
    }

    public static Bundle getArguments() {
        return arguments;
    }
}

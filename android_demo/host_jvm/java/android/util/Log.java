package android.util;

/** The runtime's Java classes log through this; on a desktop JVM it goes to standard error. */
public final class Log {
    public static int e(String tag, String message) {
        System.err.println("E/" + tag + ": " + message);
        return 0;
    }

    public static int w(String tag, String message) {
        System.err.println("W/" + tag + ": " + message);
        return 0;
    }

    public static int e(String tag, String message, Throwable error) {
        return e(tag, message + " " + error);
    }

    public static int w(String tag, String message, Throwable error) {
        return w(tag, message + " " + error);
    }
}

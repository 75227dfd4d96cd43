package androidx.test.runner.lifecycle;

/** Stand-in for androidx.test. */
public enum ApplicationStage {
    PRE_ON_CREATE,
    CREATED
}

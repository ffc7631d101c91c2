/* The decision protocol: one message, the decisions made about it, and everything that can go wrong on the way.
   README.md says what is modelled, what is assumed and how to run it. */

#ifndef ROWS
#define ROWS 1      /* decisions that the message may get, one after the other */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2  /* calls that a decision may lead to */
#endif
#ifndef FAULTS
#define FAULTS 1    /* crashes of executors */
#endif
#define CALLS (ROWS * ATTEMPTS)

mtype = { recorded, undone, calling, applied, superseded, refused, unknown, unattributed, withdrawn }
mtype = { held, approve, reject }
mtype = { yes, conflict, no, postpone, silence, absent }

/* What PostgreSQL knows of a decision. Each atomic block below is one transaction on these rows. */
typedef Row {
    mtype state; mtype outcome;
    byte attempt;
    bool lease;                         /* has not run out */
    bool left;                          /* may_have_left */
    bool stopped;                       /* withdrawn because a person or a rule stopped it, for the assertion only */
    bool settled;                       /* the settle time has passed since the last read that counted */
    byte seen_held; byte seen_absent
}
Row row[ROWS];
byte rows;
bool is_held_here;                      /* the mirror */
bool killed, expired;

/* What only MultiMail knows. */
mtype upstream = held;
byte decided_by;                        /* row + 1; 0: somebody else */
byte effects;                           /* mails that left */

/* The wire: the calls on their way, and for each a connection on which its worker may still listen. */
bool flying[CALLS];
chan answer[CALLS] = [0] of { mtype };
byte faults;

#define LAST        row[rows - 1]
#define IS(d, s)    (row[d].state == s)
#define LIVE(d)     (IS(d, recorded) || IS(d, calling) || IS(d, unknown) || IS(d, unattributed))
#define OPEN(d)     (LIVE(d) || IS(d, withdrawn))
#define IN_DOUBT(d) (IS(d, unknown) || (IS(d, withdrawn) && is_held_here))
#define OVER(d)     (expired && row[d].outcome == approve)
#define SLOT(d, n)  ((d) * ATTEMPTS + (n) - 1)
#if ROWS == 1
#define ANY(what)   (what(0))
#elif ROWS == 2
#define ANY(what)   (what(0) || what(1))
#else
#define ANY(what)   (what(0) || what(1) || what(2))
#endif

/* The mistakes: each switch makes a twin that must have a counterexample. */
#ifdef NO_FENCE
#define MINE(d, n)  true
#else
#define MINE(d, n)  (row[d].attempt == n)
#endif
#ifdef RERUN
#define LOST(d)     recorded
#else
#define LOST(d)     (row[d].left -> unknown : recorded)
#endif
#ifdef UNDO_UNKNOWN
#define CAN_UNDO(d) (IS(d, recorded) || IS(d, calling) || IS(d, unknown))
#else
#define CAN_UNDO(d) ((IS(d, recorded) || IS(d, calling)) && !row[d].left)
#endif
#ifdef WITHDRAW_ELSEWHERE
#define GONE(d)     withdrawn
#else
#define GONE(d)     (row[d].left -> unknown : superseded)
#endif
#ifdef KILL_ASKED_ONCE
#define STOPPED     false
#else
#define STOPPED     killed
#endif

/* What upstream is trusted with. By default that its first decision wins, however late a call arrives. With REPEATS it
   sends again what is approved again, but no call outlives the settle time. Either must do. */
#ifdef REPEATS
byte marked;                            /* workers between their mark and the first byte of their call */
#define MARKED(change)   marked = marked + (change)
#define FLIES(c)         flying[c]
#if CALLS == 2
#define SETTLE_TIME_OVER (marked == 0 && !flying[0] && !flying[1])
#elif CALLS == 3
#define SETTLE_TIME_OVER (marked == 0 && !flying[0] && !flying[1] && !flying[2])
#else
#define SETTLE_TIME_OVER (marked == 0 && !flying[0] && !flying[1] && !flying[2] && !flying[3])
#endif
#define CARRIES_OUT(d)   (upstream == held || (upstream == approve && decided_by > 0 && row[d].outcome == approve))
#else
#define MARKED(change)   skip
#define SETTLE_TIME_OVER true
#define CARRIES_OUT(d)   (upstream == held)
#endif

/* Where two people have to approve: what each has given for the content of now, who left, and whether the content has
   changed. `pressed` is what really happened since all approvals became void last, for the assertions only. */
#ifdef SEVERAL
bool gave[2], gone[2], pressed[2], changed, of_changed[ROWS];
#define COUNTED(p)  (gave[p] && !gone[p])
#define ENOUGH      (COUNTED(0) && COUNTED(1))
#define STANDS(d)   (row[d].outcome != approve || (ENOUGH && of_changed[d] == changed))
#define IS_VOID(s)  (s == undone || s == refused || s == superseded || s == withdrawn)
#ifdef KEEP_VERDICTS
#define VOID_GIVEN(when) skip
#else
#define VOID_GIVEN(when) gave[0] = gave[0] && !(when); gave[1] = gave[1] && !(when)
#endif
#define VOID(when)  VOID_GIVEN(when); pressed[0] = pressed[0] && !(when); pressed[1] = pressed[1] && !(when)
#ifdef ASKED_ONCE
#define STILL(d)    true
#else
#define STILL(d)    STANDS(d)
#endif
#ifdef COUNT_TWICE
#define COUNT(p)    gave[1 - (p)] = gave[1 - (p)] || gave[p]; gave[p] = true
#define MAY_GIVE(p) (!gone[p])
#else
#define COUNT(p)    gave[p] = true
#define MAY_GIVE(p) (!gone[p] && !gave[p])
#endif
#else
#define VOID(when)  skip
#define IS_VOID(s)  false
#endif

/* Where a pass decides: whether it is in force, which decisions are its, whether the content has changed. */
#ifdef PASS
bool in_force = true, met, changed, of_changed[ROWS], by_pass[ROWS];
#define SIGNED(d)   (!by_pass[d] || in_force)
#define STANDS(d)   (!by_pass[d] || (in_force && of_changed[d] == changed))
#define STILL(d)    STANDS(d)
#ifdef MARKED_UNASKED
#define MAY_MARK(d) true
#else
#define MAY_MARK(d) SIGNED(d)
#endif
#ifdef MET_TWICE
#define IS_NEW      true
#else
#define IS_NEW      (!met)
#endif
#else
#define SIGNED(d)   true
#define MAY_MARK(d) true
#ifndef SEVERAL
#define STANDS(d)   true
#define STILL(d)    true
#endif
#endif

/* Weak fairness holds for programs only: no person needs to act and no webhook to come, so at some time all that ends. */
#ifdef LIVENESS
bool is_late;
#define AT_WILL     provided (!is_late)
active proctype Evening() { is_late = true }
#else
#define AT_WILL
#endif

inline become(d, s) {
    row[d].state = s; row[d].lease = false; row[d].stopped = false;
    row[d].settled = false; row[d].seen_held = 0; row[d].seen_absent = 0;
    VOID(IS_VOID(s))
}

/* It is not to be carried out. Where an earlier call may still be under way, that cannot be promised. */
inline stop(d) { become(d, (row[d].left -> withdrawn : refused)); row[d].stopped = IS(d, withdrawn) }

inline decide(o) { row[rows].state = recorded; row[rows].outcome = o; rows++ }

#ifdef SEVERAL
/* One more approval. The last one that is needed makes the decision. */
inline give(p) {
    COUNT(p); pressed[p] = true;
    if
    :: ENOUGH ->
        assert(pressed[0] && pressed[1]);               /* two people, since nothing made it void */
        of_changed[rows] = changed;
        decide(approve)
    :: else
    fi
}
#endif

/* What upstream says became of the message meets every decision that is open. */
inline meet(d) {
    if
    :: OPEN(d) && decided_by == d + 1 ->
        assert(upstream == row[d].outcome);             /* what is shown as applied is what happened */
        assert(!IS(d, withdrawn) || row[d].stopped);    /* only what somebody stopped has left after all */
        become(d, applied)
    :: OPEN(d) && decided_by != d + 1 -> become(d, superseded)
    :: else
    fi
}
inline report() {
    assert(upstream != held);
    meet(0);
#if ROWS > 1
    meet(1);
#endif
#if ROWS > 2
    meet(2);
#endif
    skip
}

#define WITHDRAWN(d)   IS(d, withdrawn)
#define SHOWN_AS_HELD  ((LAST.state == undone || LAST.state == refused) && !ANY(WITHDRAWN))
#define MAY_ARRIVE(d)  (IS(d, withdrawn) && row[d].outcome == approve && row[d].seen_held < 2)
#define CLOSED(d)      (IS(d, undone) || IS(d, refused) || IS(d, withdrawn))
#define FREE_TO_DECIDE (is_held_here && rows < ROWS && (rows == 0 || CLOSED(rows - 1)))

active proctype Reviewer() AT_WILL {
end: do
#ifdef SEVERAL
    :: atomic { FREE_TO_DECIDE && !expired && !ANY(MAY_ARRIVE) && MAY_GIVE(0) -> give(0) }
    :: atomic { FREE_TO_DECIDE && gave[0] -> gave[0] = false; pressed[0] = false }      /* takes it back */
#else
    :: atomic { FREE_TO_DECIDE && !expired && !ANY(MAY_ARRIVE) -> decide(approve) }
#endif
    :: atomic { FREE_TO_DECIDE -> decide(reject) }
    od
}

/* The second reviewer has second thoughts, and looks after what asks for a person. */
active proctype SecondReviewer() AT_WILL {
end: do
#ifdef SEVERAL
    :: atomic { FREE_TO_DECIDE && !expired && !ANY(MAY_ARRIVE) && MAY_GIVE(1) -> give(1) }
#endif
    :: atomic { rows > 0 && CAN_UNDO(rows - 1) -> become(rows - 1, undone) }
    :: atomic { rows > 0 && LAST.left && (LAST.state == recorded || LAST.state == calling || LAST.state == unknown) ->
        stop(rows - 1) }
    :: atomic { rows > 0 && LAST.state == unknown && LAST.seen_held == 2 && !OVER(rows - 1) ->
        become(rows - 1, recorded) }                    /* confirms that it goes out again */
    :: atomic { rows > 0 && LAST.state == unattributed -> report() }    /* finds out, and says what became of it */
    od
}

#ifdef SEVERAL
/* The content changes, and the second reviewer leaves: each at any time, once. */
active proctype Changes() AT_WILL {
end: do
    :: atomic { is_held_here && !changed -> changed = true; VOID(true) }
    :: atomic { !gone[1] -> gone[1] = true }
    od
}
#endif

#ifdef PASS
/* Approves a message once, and is stopped by anybody, by a changed content and by its own end, each at any time. */
active proctype Pass() AT_WILL {
end: do
    :: atomic { FREE_TO_DECIDE && !expired && !killed && in_force && IS_NEW && !ANY(MAY_ARRIVE) ->
        assert(!met);                                   /* what people took back stays with them */
        met = true; by_pass[rows] = true; of_changed[rows] = changed;
        decide(approve) }
    :: atomic { rows > 0 && IS(rows - 1, recorded) && !LAST.left && by_pass[rows - 1] &&
                (!STANDS(rows - 1) || killed) ->
        become(rows - 1, undone) }                      /* gives it to people */
    :: atomic { in_force -> in_force = false }
    :: atomic { is_held_here && !changed -> changed = true }
    od
}
#endif

active proctype KillSwitch() AT_WILL {
end: do
    :: atomic { rows > 0 && !killed -> killed = true }
    od
}

#ifdef EXPIRY
active proctype ExpiryRule() {
    expired = true;
end: do
    :: atomic { FREE_TO_DECIDE -> decide(reject) }
    :: atomic { is_held_here && rows > 0 && rows < ROWS && OVER(rows - 1) && LIVE(rows - 1) && LAST.state != calling ->
        stop(rows - 1); decide(reject) }
    od
}
#endif

#define MAY_CALL (IS(d, calling) && MINE(d, n) && row[d].lease && !STOPPED && !OVER(d) && MAY_MARK(d))
#define DIE      atomic { faults < FAULTS -> faults++; goto idle }
/* Takes a row, reads, marks, calls, ends the row. It sleeps between any two steps for any time, and may die there. */
active [2] proctype Executor() {
    byte d, n; bool had_left; mtype said;
idle:
    atomic { d = 0; n = 0; had_left = false; said = 0 }
end:
    atomic {
        rows > 0 && LAST.state == recorded && LAST.attempt < ATTEMPTS && !killed;
        d = rows - 1;
        if
        :: !is_held_here -> become(d, GONE(d)); goto idle   /* it was to go out again, or was decided elsewhere */
        :: is_held_here && (OVER(d) || !STILL(d)) -> stop(d); goto idle
        :: else
        fi;
        become(d, calling);
        row[d].attempt++; row[d].lease = true;
        n = row[d].attempt; had_left = row[d].left
    }
    if                                                  /* reads the message once more */
    :: DIE
    :: atomic { upstream == held && STILL(d) ->
        assert(STANDS(d)) }                             /* enough people still stand behind it, when asked last */
    :: atomic { upstream == held && !STILL(d) -> said = no; goto ending }
    :: atomic { upstream != held -> said = conflict; goto ending }
    :: atomic { upstream != held -> said = absent; goto ending }    /* and is not told why */
    :: said = postpone; goto ending                     /* could not be read */
    fi;
    if                                                  /* the mark: one compare-and-set right before the call */
    :: DIE
    :: atomic { MAY_CALL ->
        assert(!killed);                                /* no call after the kill switch but those marked before */
        assert(SIGNED(d));                              /* nor after a pass has ended */
        row[d].left = true; MARKED(1) }
    :: atomic { !MAY_CALL -> said = postpone; goto ending }
    fi;
    if
    :: atomic { faults < FAULTS -> faults++; MARKED(-1); goto idle }
    :: atomic { flying[SLOT(d, n)] = true; MARKED(-1) }
    :: atomic { said = postpone; MARKED(-1); goto ending }      /* nothing was written to the wire */
    fi;
    if
    :: DIE
    :: answer[SLOT(d, n)] ? said
    :: said = silence                                   /* the time-out, or a broken connection */
    fi;
ending:
    atomic {
        if
        :: MINE(d, n) && OPEN(d) && !IS(d, recorded) ->
            assert(row[d].attempt == n);                /* a late worker overwrites no newer attempt */
            if
            :: said == yes -> meet(d); report()
            :: said == conflict -> report()
            :: IS(d, calling) && said == no -> row[d].left = had_left; stop(d)
            :: IS(d, calling) && said == postpone -> row[d].left = had_left; become(d, recorded)
            :: IS(d, calling) && said == silence -> become(d, unknown)
            :: IS(d, calling) && said == absent && had_left -> become(d, unknown)
            :: IS(d, calling) && said == absent && !had_left -> become(d, superseded); is_held_here = false
            :: IS(d, withdrawn) && (said == no || said == postpone) && !had_left -> become(d, refused)
            :: else
            fi
        :: else
        fi;
        goto idle
    }
}

inline process(c) {
    flying[c] = false;
    if
    :: CARRIES_OUT(c / ATTEMPTS) ->                     /* it commits; whoever still listens may hear of it */
        assert(!IS(c / ATTEMPTS, undone) && !IS(c / ATTEMPTS, refused));
        assert(!SHOWN_AS_HELD);                         /* nor was the message shown as nothing but held */
        effects = effects + (row[c / ATTEMPTS].outcome == approve);
        assert(effects <= 1);
        upstream = row[c / ATTEMPTS].outcome; decided_by = c / ATTEMPTS + 1;
        if :: answer[c] ! yes :: skip fi
    :: !CARRIES_OUT(c / ATTEMPTS) ->
        if :: answer[c] ! conflict :: skip fi
    :: skip                                             /* lost on its way */
    :: answer[c] ! no                                   /* 403, or 409 and still pending: nothing happened */
    :: answer[c] ! postpone                             /* 429 */
    fi
}

active proctype Upstream() {
end: do
    :: atomic { flying[0] -> process(0) }
#if CALLS > 1
    :: atomic { flying[1] -> process(1) }
#endif
#if CALLS > 2
    :: atomic { flying[2] -> process(2) }
#endif
#if CALLS > 3
    :: atomic { flying[3] -> process(3) }
#endif
    od
}

active proctype SomebodyElse() AT_WILL {
end: do
    :: atomic { upstream == held -> upstream = reject }
    :: atomic { upstream == held -> upstream = approve; effects++; assert(effects <= 1) }
    od
}

/* The webhook of what upstream decided: late, never, or more than once. */
active proctype Webhook() AT_WILL {
end: do
    :: atomic { upstream != held && (is_held_here || ANY(OPEN)) -> is_held_here = false; report() }
    od
}

/* Leases run out and settle times pass; the sweep takes what a worker left behind into doubt. */
active proctype Sweep() {
end: do
    :: atomic { rows > 0 && LAST.state == calling && LAST.lease -> LAST.lease = false }
#ifndef NO_SWEEP
    :: atomic { rows > 0 && LAST.state == calling && !LAST.lease -> become(rows - 1, LOST(rows - 1)) }
#endif
    :: atomic { IN_DOUBT(0) && !row[0].settled && SETTLE_TIME_OVER -> row[0].settled = true }
#if ROWS > 1
    :: atomic { IN_DOUBT(1) && !row[1].settled && SETTLE_TIME_OVER -> row[1].settled = true }
#endif
#if ROWS > 2
    :: atomic { IN_DOUBT(2) && !row[2].settled && SETTLE_TIME_OVER -> row[2].settled = true }
#endif
    od
}

/* Two reads of a kind count, a settle time apart. */
#define COUNTS(d, times) (times == 0 || (times == 1 && row[d].settled))
inline count_held(d) {
    if
    :: COUNTS(d, row[d].seen_held) -> row[d].seen_held++; row[d].seen_absent = 0; row[d].settled = false
    :: else
    fi
}
inline count_absent(d) {
    if
    :: COUNTS(d, row[d].seen_absent) -> row[d].seen_absent++; row[d].seen_held = 0; row[d].settled = false
    :: else
    fi
}
#define LOOK(d) upstream == held && IN_DOUBT(d) && row[d].seen_held < 2

/* Reads what is held. That a message is not held any more stays true; that it is may be out of date when the reader
   writes it down. */
active proctype Reader() {
    byte d; bool looks;
    is_held_here = true;                                /* found by a first read, or announced */
end: do
    :: atomic { !looks && upstream != held && (is_held_here || ANY(OPEN)) ->    /* and is told what became of it */
        is_held_here = false; report() }
    :: atomic { !looks && upstream != held && rows > 0 && LAST.state == unknown ->     /* or not */
        count_absent(rows - 1);
        if
        :: LAST.seen_absent == 2 -> become(rows - 1, unattributed)
        :: else
        fi }
    :: atomic { !looks && upstream != held && is_held_here &&
                !(rows > 0 && (LAST.state == calling || LAST.state == unknown)) -> is_held_here = false }
    :: atomic { !looks && LOOK(0) -> looks = true; d = 0 }
#if ROWS > 1
    :: atomic { !looks && LOOK(1) -> looks = true; d = 1 }
#endif
#if ROWS > 2
    :: atomic { !looks && LOOK(2) -> looks = true; d = 2 }
#endif
    :: atomic { looks ->
        if
        :: IN_DOUBT(d) ->
            count_held(d);
            if
            :: IS(d, unknown) && row[d].seen_held == 2 -> become(d, recorded)   /* by itself, as an admin chose */
            :: IS(d, unknown) && row[d].seen_held == 2 && row[d].outcome == approve     /* or when a person confirms */
            :: else
            fi
        :: IS(d, unattributed) -> become(d, unknown)
        :: else
        fi;
        looks = false; d = 0 }
    od
}

#define NOT_KNOWN   (rows > 0 && (LAST.state == calling || LAST.state == unknown))
#define ASKS_PERSON (rows > 0 && (LAST.state == unattributed || LAST.state == withdrawn || \
                                  (LAST.state == unknown && LAST.seen_held == 2)))
/* Under weak fairness: what is not known is found out, or a person is asked. */
ltl doubt_ends { [] (NOT_KNOWN -> <> (!NOT_KNOWN || ASKS_PERSON)) }
/* And what upstream has decided is seen here. */
ltl mirror_follows { [] (upstream != held -> <> (!is_held_here || ASKS_PERSON)) }

"""An event listener that writes down what it is sent: `listener.py FILE [ANSWER]…`, one answer for each event, then OK."""
import sys

answers = sys.argv[2:]
log = open(sys.argv[1], "a")


def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()


say("READY\n")
while True:
    header = sys.stdin.readline()
    if not header:
        break
    words = dict(word.split(":", 1) for word in header.split())
    length = int(words["len"])
    payload = sys.stdin.read(length)
    log.write("%s %s\n%s\n" % (" ".join(w for w in header.split() if not w.startswith("len:")), len(payload) == length, payload))
    log.flush()
    answer = answers.pop(0) if answers else "OK"
    if answer == "EXIT":
        break
    if answer == "BAD":
        say("nonsense\n")
    elif answer == "SPURIOUS":
        say("RESULT 2\nOKREADY\nspurious\n")
    elif answer == "MUTE":
        sys.stdin.read()
    else:
        say("RESULT %d\n%s" % (len(answer), answer))
        say("READY\n")

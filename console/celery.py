"""The Celery application: tasks only say "look"; the work's state lives in PostgreSQL rows."""

import os
import warnings

from celery import Celery, signals
from celery.platforms import SecurityWarning
from django.conf import settings

from console.core.garbage import collect_less_often

# It warns of pickle under root; tasks here are JSON, and nothing else is accepted.
warnings.filterwarnings("ignore", category=SecurityWarning)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

app = Celery("console")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["messages", "alerts", "console.health"])


@signals.worker_process_init.connect
def look_for_garbage_less_often(**_: object) -> None:
    collect_less_often()


app.conf.beat_schedule = {
    "heartbeat": {"task": "console.heartbeat", "schedule": 2.0, "options": {"expires": 5}},
    "sweep-replays": {"task": "messaging.sweep_replays", "schedule": 5.0, "options": {"expires": 5}},
    # Both workers may send for two seconds at a time: a tick that waits so long must still come.
    "advance-plans": {"task": "messaging.advance_plans", "schedule": 1.0, "options": {"expires": 3}},
    "compensate": {"task": "messaging.work_on_compensations", "schedule": 2.0, "options": {"expires": 4}},
    "replay-automatically": {
        "task": "messaging.replay_automatically",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "tell-of-plans": {"task": "messaging.tell_of_plans", "schedule": 30.0, "options": {"expires": 30}},
    # Most proofs come within seconds: the young are looked at often, the old ones, which may be many, once a minute.
    "settle-replays": {
        "task": "messaging.settle_replays",
        "args": [15],
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    "settle-old-replays": {
        "task": "messaging.settle_replays",
        "args": [30 * 24 * 60],
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "attach-exceptions": {
        "task": "messaging.attach_exceptions",
        "args": [10],
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "attach-late-exceptions": {
        "task": "messaging.attach_exceptions",
        "args": [24 * 60],
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "fold-latency": {"task": "messaging.fold_latency", "schedule": 600.0, "options": {"expires": 300}},
    "follow-sent-on": {"task": "messaging.follow_sent_on", "schedule": 15.0, "options": {"expires": 15}},
    "group-failures": {"task": "messaging.group_failures", "schedule": 5.0, "options": {"expires": 5}},
    "look-at-subscriptions": {
        "task": "messaging.look_at_subscriptions",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    # A minute that runs is counted too: with this an alert leaves within half a minute of its condition.
    "assess-objectives": {"task": "alerts.assess_objectives", "schedule": 15.0, "options": {"expires": 15}},
    "reconcile": {"task": "messaging.reconcile", "schedule": 5.0, "options": {"expires": 5}},
    "run-checks": {"task": "messaging.run_checks", "schedule": 15.0, "options": {"expires": 15}},
    "sweep-reconciliations": {
        "task": "messaging.sweep_reconciliations",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "look-at-conditions": {"task": "alerts.look", "schedule": 15.0, "options": {"expires": 15}},
    "tell-of-breaches": {"task": "alerts.tell", "schedule": 5.0, "options": {"expires": 5}},
    "send-mails": {"task": "messaging.send_mails", "schedule": 10.0, "options": {"expires": 10}},
    "send-notices": {"task": "alerts.send_notices", "schedule": 5.0, "options": {"expires": 5}},
    "make-reports": {"task": "alerts.make_reports", "schedule": 10.0, "options": {"expires": 10}},
    "send-reports": {"task": "alerts.send_reports", "schedule": 10.0, "options": {"expires": 10}},
    "expire-alerts": {"task": "alerts.expire", "schedule": 3600.0, "options": {"expires": 600}},
    "create-partitions": {"task": "messaging.create_partitions", "schedule": 3600.0, "options": {"expires": 600}},
    # Daily by its own rule: looked at every quarter of an hour, so that what was locked or cut short goes on.
    "retention": {"task": "messaging.retention", "schedule": 900.0, "options": {"expires": 600}},
    "expire-ledger": {"task": "messaging.expire_ledger", "schedule": 3600.0, "options": {"expires": 600}},
}
if settings.SEARCH_BACKEND == "elasticsearch":
    app.conf.beat_schedule |= {
        "index-search": {"task": "messaging.index_search", "schedule": 1.0, "options": {"expires": 2}},
        "keep-search": {"task": "messaging.keep_search", "schedule": 15.0, "options": {"expires": 15}},
    }

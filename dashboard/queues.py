"""Settings of Celery that never vary; settings.py takes them over."""

CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SOFT_TIME_LIMIT = 60
CELERY_TASK_TIME_LIMIT = 90
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Publishing must cost a request at most a second when Redis is away; the sweep finds what was not nudged.
    "socket_connect_timeout": 0.5,
    "socket_timeout": 0.5,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "visibility_timeout": 180,
}
CELERY_TASK_ROUTES = {
    "approvals.tasks.execute_*": {"queue": "decisions"},
    "approvals.*": {"queue": "sync"},
    "audit.*": {"queue": "sync"},
    "alerts.*": {"queue": "alerts"},
    "gateway.*": {"queue": "gateway"},
}

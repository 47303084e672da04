"""What runs inside the measured processes.

work                    the task, the same for everybody
driver                  the client process: submits, waits, measures; talks to one of the apps below
tq_app                  ours
celery_app, dramatiq_app, rq_app    the rivals, in their own environment
"""

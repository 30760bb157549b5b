"""Helpers for the tests of a plugin: rows to work on, people who sign in, and the tests that every handler must pass.

It is for tests only, ours and yours; nothing that serves requests imports it. Your suite needs one fixture, `app`, a
ready application on a fresh database, and a class for each handler. In `conftest.py`::

    pytest.register_assert_rewrite("app.testing")

    @pytest.fixture
    def app(tmp_path):
        app = create_app({"FIELDPOST_DATA_DIR": str(tmp_path), "DATABASE_URL": ""})
        with app.app_context():
            upgrade()  # the core's tables and the plugins'
        return app

and in `test_meter_reading.py`::

    class TestMeterReading(HandlerContract):
        handler = handler

        def target(self, world, inspection):
            return world.make(Reading, inspection.id, value=0)

        def payload(self, target, number):
            return {"id": target.id, "value": number}

        def creation(self, inspection, number):
            return {"inspection_id": inspection.id, "value": number}
"""

from app.core.host.migrations import upgrade
from app.testing.contract import HandlerContract
from app.testing.scene import Scene, push, sign_in, statements_of
from app.testing.world import PASSWORD, PASSWORD_HASH, STRUCTURE, World

__all__ = [
    "PASSWORD",
    "PASSWORD_HASH",
    "STRUCTURE",
    "HandlerContract",
    "Scene",
    "World",
    "push",
    "sign_in",
    "statements_of",
    "upgrade",
]

"""REST of the demo estate: what runs, which faults are on, and their switches."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.demo.access import get_demo_environment
from console.demo.services import Estate, estate_state, switch_fault
from messages.api.base import PROBLEMS, View, problems, validated


class ProcessOut(serializers.Serializer[Any]):
    """One process of the estate; figures are of the last 60 s, null where it does not tell."""

    name = serializers.CharField()
    what = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True, help_text="Null: it is not running.")
    done = serializers.IntegerField(allow_null=True)
    failed = serializers.IntegerField(allow_null=True)
    waiting = serializers.IntegerField(allow_null=True)


class FaultOut(serializers.Serializer[Any]):
    name = serializers.CharField(source="fault.name")
    title = serializers.CharField(source="fault.title")
    system = serializers.CharField(source="fault.system")
    what = serializers.CharField(source="fault.what")
    fix = serializers.CharField(source="fault.fix")
    on = serializers.BooleanField()


class EstateOut(serializers.Serializer[Estate]):
    """The demo's processes and faults."""

    running = serializers.BooleanField()
    processes = ProcessOut(many=True)
    faults = FaultOut(source="switches", many=True)


class FaultIn(serializers.Serializer[Any]):
    """Whether things go wrong in this way."""

    on = serializers.BooleanField()


ANSWERS: dict[Any, Any] = {200: EstateOut, **PROBLEMS, **problems(503)}


class Demo(View):
    @extend_schema(operation_id="read_demo", responses=ANSWERS)
    def get(self, request: Request) -> Response:
        """What each process of the demo does and how each fault stands; 404 without a demo."""
        get_demo_environment(self.actor)
        return Response(EstateOut(estate_state()).data)


class DemoFault(View):
    @extend_schema(operation_id="switch_demo_fault", request=FaultIn, responses=ANSWERS)
    def put(self, request: Request, name: str) -> Response:
        """Switch one fault on or off; for operators of the demo, and audited."""
        environment = get_demo_environment(self.actor)
        switch_fault(name, on=validated(FaultIn, request.data)["on"], by=self.actor, environment=environment)
        return Response(EstateOut(estate_state()).data)

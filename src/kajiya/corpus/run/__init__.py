"""Making a corpus by a recipe, stage by stage; each stage can be stopped anywhere and gone on with."""
